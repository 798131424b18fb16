"""The log: a line for each finished request, as text and as JSON."""

from __future__ import annotations

import io
import json
import logging

import pytest

from jaxchat.chat.context import Record
from serving.config import LogConfig
from serving.observability import logs

NASTY = 'a"b\\c\n\u2028{"level": "forged"}\x1b[31m\x00é😀\ud800'


@pytest.fixture
def logged(monkeypatch):
    """Configures the log to write here; `logged(format, level)`."""
    root = logging.getLogger()
    before = root.handlers[:], root.level
    stream = io.StringIO()

    def configure(log_format="json", log_level="info"):
        monkeypatch.setattr("sys.stderr", stream)
        logs.configure(LogConfig(log_format=log_format, log_level=log_level))
        return stream

    yield configure
    root.handlers[:], level = before
    root.setLevel(level)


def record(**fields):
    return Record(
        **dict(
            request_id="req_1",
            model="tiny",
            streamed=True,
            user="alice@example.com",
            prompt_tokens=5,
            completion_tokens=2,
            first_token=0.25,
            seconds=1.5,
            outcome="completed",
            status=200,
            finish_reasons=("stop",),
        )
        | fields
    )


def test_a_json_line(logged):
    stream = logged()
    logs.RequestLog().finished(record())
    line = json.loads(stream.getvalue())
    assert line.pop("time").endswith("+00:00") and len(line.pop("user")) == 12
    assert line == {
        "level": "info",
        "logger": "jaxchat.requests",
        "message": "request",
        "request_id": "req_1",
        "model": "tiny",
        "streamed": True,
        "choices": 1,
        "outcome": "completed",
        "status": 200,
        "error": None,
        "finish_reasons": ["stop"],
        "prompt_tokens": 5,
        "completion_tokens": 2,
        "first_token_seconds": 0.25,
        "seconds": 1.5,
    }


def test_a_text_line(logged):
    stream = logged("text")
    logs.RequestLog().finished(record(outcome="cancelled", status=499, user="", first_token=None))
    text = stream.getvalue()
    assert 'INFO jaxchat.requests: request request_id="req_1" model="tiny" user=null streamed=true' in text
    assert 'outcome="cancelled" status=499' in text and "first_token_seconds=null" in text


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_any_content_is_one_line(logged, log_format):
    stream = logged(log_format)
    observer = logs.RequestLog()
    observer.finished(record(model=NASTY * 1000, error=NASTY, user=NASTY))
    (line,) = stream.getvalue().splitlines()
    assert line.isascii() and line.isprintable() and len(line) < 4000
    if log_format == "json":
        assert json.loads(line)["error"] == NASTY and json.loads(line)["level"] == "info"


def test_other_lines_are_valid_json_too(logged):
    stream = logged()
    log = logging.getLogger("jaxchat.test")
    try:
        raise ValueError(NASTY)
    except ValueError:
        log.exception("with %s and %r", NASTY, float("nan"))
    line = json.loads(stream.getvalue())
    assert line["message"] == f"with {NASTY} and nan" and NASTY in line["exception"]
    assert stream.getvalue().count("\n") == 1


def test_users_are_hidden_but_told_apart(logged):
    stream = logged()
    observer = logs.RequestLog()
    for user in ("alice@example.com", "bob", "alice@example.com"):
        observer.finished(record(user=user))
    logs.RequestLog().finished(record())
    assert "alice" not in stream.getvalue()
    alice, bob, again, elsewhere = (json.loads(line)["user"] for line in stream.getvalue().splitlines())
    assert alice == again and len({alice, bob, elsewhere}) == 3


def test_nothing_below_the_level(logged):
    stream = logged("json", LogConfig().log_level)
    logs.RequestLog().finished(record())
    assert stream.getvalue() == ""
