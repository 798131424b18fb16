"""Batches: outputs, repetitions, interruptions at every place, and what a batch refuses to continue."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from jaxchat.errors import ChatError
from serving.config import BatchConfig
from serving.offline.batch import Interrupted
from serving.offline.output import stable_answer
from serving.offline.state import BatchState, begun_header, state_path
from serving.offline.target import EngineFailed, Reply, Unreachable
from tests.serving.offline.batches import FakeTarget, outputs, request, run, write

LINES = [
    request("one", "first answer"),
    request("hot", temperature=3),
    "{broken",
    request("two", "second", n=2),
    request("who", model="nobody"),
    request("three", "third", seed=5),
]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return write(tmp_path / "in.jsonl", *LINES)


def test_answers_and_errors_come_in_the_order_of_the_input(tmp_path: Path, source: Path) -> None:
    target = FakeTarget()
    summary = run(source, tmp_path / "out", target)
    lines = outputs(tmp_path / "out")
    assert [line["custom_id"] for line in lines] == ["one", "hot", None, "two", "who", "three"]
    assert [line["response"]["status_code"] for line in lines] == [200, 400, 400, 200, 404, 200]
    assert all(line["error"] is None for line in lines)
    assert len({line["id"] for line in lines}) == len({line["response"]["request_id"] for line in lines}) == 6
    assert lines[0]["response"]["body"]["choices"][0]["message"]["content"] == "first answer "
    hot, who = (lines[index]["response"]["body"]["error"] for index in (1, 4))
    assert hot["message"] == "Invalid value for 'temperature': must be from 0 to 2, got 3.0." and hot["param"]
    assert who["code"] == "model_not_found"
    assert (summary.total, summary.answered, summary.refused, summary.tokens) == (6, 3, 3, 4)
    sent = {id for id in target.session.request_ids if id.startswith("req_")}
    assert {line["response"]["request_id"] for line in lines if line["response"]["status_code"] == 200} <= sent


def test_the_number_of_open_requests_is_bounded_and_reached(tmp_path: Path) -> None:
    source = write(tmp_path / "in", *(request(str(index), "a b c") for index in range(20)))
    target = FakeTarget()
    run(source, tmp_path / "out", target, BatchConfig(concurrency=3))
    assert target.most_open == 3


def test_what_depends_on_time_chance_or_load_is_replaced() -> None:
    calls = [{"id": "call_x", "function": {"name": "f", "arguments": '{"id": "kept"}'}}] * 2
    body: dict[str, Any] = {
        "id": "chatcmpl-abc",
        "created": 17,
        "choices": [{"index": 0, "message": {"content": None, "tool_calls": calls}}],
        "usage": {"prompt_tokens": 3, "prompt_tokens_details": {"cached_tokens": 2}},
    }
    other = json.loads(json.dumps(body).replace("abc", "xyz").replace("call_x", "call_y").replace("17", "18"))
    other["usage"]["prompt_tokens_details"]["cached_tokens"] = 0
    stable = stable_answer(body, "digest")
    assert stable == stable_answer(other, "digest") != stable_answer(body, "other")
    ids = [call["id"] for call in stable["choices"][0]["message"]["tool_calls"]]
    assert len(set(ids)) == 2 and all(each.startswith("call_") for each in ids)
    assert stable["id"].startswith("chatcmpl-") and stable["created"] == 0 and stable["usage"] == {"prompt_tokens": 3}
    assert body["created"] == 17  # the argument stays as it is


def test_an_id_without_a_beginning_derives_from_the_line_too() -> None:
    assert stable_answer({"id": "8f14e45f"}, "digest") == stable_answer({"id": "c9f0f895"}, "digest")


def test_a_custom_id_that_is_not_unicode_comes_back_as_it_was(tmp_path: Path) -> None:
    run(write(tmp_path / "in", request("\ud83d", "half"), request("\U0001f600", "whole")), tmp_path / "out")
    assert [line["custom_id"] for line in outputs(tmp_path / "out")] == ["\ud83d", "\U0001f600"]


def test_a_batch_cut_at_any_place_ends_with_the_same_output(tmp_path: Path, source: Path) -> None:
    """Cuts the state at many places, in the header and in lines, as a kill or a full disk may, and continues."""
    whole = tmp_path / "whole"
    interrupted = FakeTarget(lambda number: EngineFailed("killed") if number >= 4 else None)
    run(source, whole)
    with pytest.raises(Interrupted):
        run(source, tmp_path / "cut", interrupted, BatchConfig(concurrency=1))
    state = state_path(tmp_path / "cut").read_bytes()
    assert state.count(b"\n") > 3
    for end in [*range(0, len(state), 149), *range(len(state) - 5, len(state) + 1)]:
        out = tmp_path / f"out{end}"
        state_path(out).write_bytes(state[:end])
        run(source, out)
        assert out.read_bytes() == whole.read_bytes(), end


def test_lines_that_are_done_are_not_asked_again(tmp_path: Path, source: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(Interrupted, match="the engine failed"):
        run(source, out, FakeTarget(lambda n: EngineFailed("the engine failed") if n == 3 else None),
            BatchConfig(concurrency=1))  # fmt: skip
    target = FakeTarget()
    summary = run(source, out, target)
    assert (summary.earlier, summary.answered + summary.refused) == (3, 3)
    assert target.chats == 1 + 3  # the question for the fingerprint, and the lines that were left
    target = FakeTarget()
    assert run(source, out, target).earlier == 6 and target.chats == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"source": [request("one", "other")]}, "another input_sha256"),
        ({"settings": {"template_date": "2026-01-02"}}, "another template_date: '2026-01-01', now '2026-01-02'"),
        ({"fingerprint": "fp_other"}, "another fingerprint: 'fp_0123456789', now 'fp_other'"),
    ],
)
def test_another_input_model_or_setting_is_refused(
    tmp_path: Path, source: Path, change: dict[str, Any], message: str
) -> None:
    out, settings = tmp_path / "out", {"template_date": "2026-01-01"}
    with pytest.raises(Interrupted):
        run(source, out, FakeTarget(lambda n: EngineFailed("x") if n == 2 else None), **settings)
    before = state_path(out).read_bytes()
    assert begun_header(out)["template_date"] == "2026-01-01"
    if "source" in change:
        source = write(tmp_path / "other", *change["source"])
    probe = Reply(200, {}, json.dumps({"system_fingerprint": change.get("fingerprint", "fp_0123456789")}).encode())
    with pytest.raises(ValueError, match=message):
        run(source, out, FakeTarget(lambda n: probe if n == 0 else None), **(settings | change.get("settings", {})))
    assert state_path(out).read_bytes() == before


def test_a_model_that_changes_midway_stops_the_batch(tmp_path: Path, source: Path) -> None:
    changed = Reply(200, {}, b'{"system_fingerprint": "fp_new", "choices": []}')
    with pytest.raises(Interrupted, match="changed from fp_0123456789 to fp_new"):
        run(source, tmp_path / "out", FakeTarget(lambda n: changed if n == 2 else None))
    assert b"fp_new" not in state_path(tmp_path / "out").read_bytes()


@pytest.mark.parametrize(
    "failure",
    [
        Reply(429, {}, b'{"error": {"message": "full"}}'),
        Reply(503, {}, b'{"error": {"message": "draining"}}'),
        Reply(500, {}, b"oops"),
        Unreachable("connection refused"),
    ],
)
def test_what_passes_is_asked_again_and_never_written(
    tmp_path: Path, source: Path, failure: Reply | Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serving.offline.batch._DELAY", 0.001)
    run(source, tmp_path / "whole")
    target = FakeTarget(lambda number: failure if number % 2 else None)
    run(source, tmp_path / "out", target, BatchConfig(concurrency=2))
    assert (tmp_path / "out").read_bytes() == (tmp_path / "whole").read_bytes()
    with pytest.raises(Interrupted, match="no answer for 0 s, last: "):
        run(source, tmp_path / "never", FakeTarget(lambda number: failure if number else None))


def test_a_failure_that_would_repeat_is_written(tmp_path: Path) -> None:
    run(write(tmp_path / "in", request("a", "nan")), tmp_path / "out")
    (line,) = outputs(tmp_path / "out")
    assert line["response"]["status_code"] == 500
    assert line["response"]["body"]["error"]["code"] == "numerical_error"


def test_a_server_that_refuses_at_the_start_says_why(tmp_path: Path, source: Path) -> None:
    refusal = Reply(401, {}, b'{"error": {"message": "The API key is missing or wrong."}}')
    with pytest.raises(ChatError, match="status 401: The API key is missing or wrong"):
        run(source, tmp_path / "out", FakeTarget(lambda number: refusal))
    assert not state_path(tmp_path / "out").exists()


def test_other_files_are_never_overwritten(tmp_path: Path, source: Path) -> None:
    out = tmp_path / "out"
    out.write_text("mine")
    with pytest.raises(ValueError, match="remove it, or name another output"):
        run(source, out)
    for text in ("mine too\n", "mine too", '{"jaxchat": 1}'):
        state_path(out).write_text(text)
        with pytest.raises(ValueError, match="not the state of a batch"):
            run(source, out)
        assert out.read_text() == "mine" and state_path(out).read_text() == text
    state_path(tmp_path / "done").unlink(missing_ok=True)
    run(source, tmp_path / "done")
    (tmp_path / "done").write_text("edited")
    with pytest.raises(ValueError, match="has changed since it was finished"):
        run(source, tmp_path / "done")


def test_two_processes_cannot_write_one_batch(tmp_path: Path, source: Path) -> None:
    state = BatchState(tmp_path / "out", {})
    with pytest.raises(ValueError, match="another process writes this batch"):
        run(source, tmp_path / "out")
    state.close()
