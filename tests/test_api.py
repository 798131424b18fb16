"""Settings of `load` that reach the chat template. A repeating device stands in for the weights."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import jaxchat
from jaxchat import api
from jaxchat.config import ChatConfig, EngineConfig
from jaxchat.errors import ModelError
from tests import tiny
from tests.contract.echo import CHUNK, CONTEXT, PAGE, SOURCE, TEMPLATE, EchoRunner

DAY = "2026-03-09"
SLOTS, PAGES = 2, 2 * CONTEXT // PAGE + 1
ASKED = [{"role": "user", "content": "Hi"}]


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A model directory without weights, whose template asks for today."""
    texts = {
        "config.json": json.dumps(tiny.CONFIG),
        "tokenizer.json": SOURCE,
        "tokenizer_config.json": json.dumps({"eos_token": "<|im_end|>"}),
        "chat_template.jinja": "{{ strftime_now('%d %b %Y') }}{{ ' quiet' if quiet }}" + TEMPLATE,
    }
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
    return tmp_path


@pytest.fixture
def runner(monkeypatch: pytest.MonkeyPatch) -> EchoRunner:
    runner = EchoRunner(SLOTS, PAGES)
    runner.prefill_buckets, runner.decode_buckets = (CHUNK,), (SLOTS,)  # type: ignore[attr-defined]

    def load_runner(*_: Any, text_digest: str, **__: Any) -> SimpleNamespace:
        return SimpleNamespace(
            runner=runner,
            runners=[runner],
            sizes=SimpleNamespace(max_seq_len=CONTEXT, slots=SLOTS, pages=PAGES, page_size=PAGE, vocab=5000),
            model=SimpleNamespace(vocab_size=5000),
            scheduling=dict(slots=SLOTS, prefill_buckets=(CHUNK,), page_size=PAGE, pages=PAGES, vocab=5000),
            fingerprint=f"fp_{hashlib.sha256(text_digest.encode()).hexdigest()[:10]}",
            compiles_after_ready=0,
            close=lambda: None,
            **dict.fromkeys(("device", "platform", "attention", "matmul_backend"), "none"),
            parameters=0,
            kv_bytes=0,
        )

    monkeypatch.setattr("jaxchat.runtime.load.load_runner", load_runner)
    return runner


def test_the_day_and_the_variables_of_the_operator_reach_the_template(model: Path, runner: EchoRunner) -> None:
    fingerprints = set()
    for settings, shown in (
        ({"template_date": DAY}, "09 Mar 2026<"),
        ({"template_date": "2026-03-10"}, "10 Mar 2026<"),
        ({"template_date": DAY, "chat_template_kwargs": '{"quiet": true}'}, "09 Mar 2026 quiet<"),
    ):
        with jaxchat.load(str(model), progress=False, **settings) as client:
            answers = [client.chat.completions.create(messages=ASKED) for _ in range(2)]
            client.chat.completions.create(messages=ASKED, chat_template_kwargs={"quiet": False})
            summary = client.transport.session.summary()
        *prompts, overruled = runner.prompts[-3:]
        assert all(prompt.startswith(shown) for prompt in prompts) and " quiet" not in overruled
        (fingerprint,) = {answer.system_fingerprint for answer in answers}
        fingerprints.add(fingerprint)
        assert {("template date", settings["template_date"]), ("fingerprint", fingerprint)} <= set(summary)
    assert len(fingerprints) == 3


def test_a_variable_that_the_template_does_not_read_stops_the_start(model: Path) -> None:
    with pytest.raises(ValueError, match=r"does not read 'thinking'\. Variables that it reads: quiet"):
        jaxchat.load(str(model), progress=False, chat_template_kwargs='{"thinking": true}')


def test_a_reasoning_format_whose_tokens_the_model_lacks_stops_the_start(model: Path) -> None:
    with pytest.raises(ModelError, match="reasoning_format 'think': the tokenizer has no added token '<think>'"):
        jaxchat.load(str(model), progress=False, reasoning_format="think")


def test_settings_of_engine_and_requests_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    monkeypatch.setattr(api, "load_session", lambda model, engine, report, chat: seen.append((engine, chat)))
    config = EngineConfig(slots=3, pages=100)
    api._load("m", False, config, {"slots": 5, "template_date": DAY, "tool_format": "hermes"})
    api._load("m", False, None, {})
    assert seen == [
        (EngineConfig(slots=5, pages=100), ChatConfig(template_date=DAY, tool_format="hermes")),
        (EngineConfig(), ChatConfig()),
    ]


def test_requests_may_use_each_name_of_the_operator_and_no_other(model: Path, runner: EchoRunner) -> None:
    with jaxchat.load(str(model), served_model_name=("gpt", "small"), progress=False) as client:
        assert [each.id for each in client.models.list()] == ["gpt", "small"]
        asked: dict[str, Any] = dict(messages=ASKED, max_tokens=1)
        for name in ({}, {"model": "gpt"}, {"model": "small"}):
            assert client.chat.completions.create(**asked, **name).model == "gpt"
            (chunk, *_) = client.chat.completions.create(**asked, **name, stream=True)
            assert chunk.model == "gpt"
            assert client.completions.create(prompt="Hi", max_tokens=1, **name).model == "gpt"
            assert client.tokenize(prompt="Hi", **name).count
        with pytest.raises(
            jaxchat.ChatError, match=f"The model '{model.name}' does not exist. This server has: gpt, small"
        ):
            client.chat.completions.create(model=model.name, **asked)
