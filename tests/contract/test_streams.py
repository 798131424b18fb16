"""Streams on the wire: exact events, their order, and that a torn answer never looks whole."""

from __future__ import annotations

import json

import grpc
import openai
import pytest

from jaxchat import v1
from tests.contract.doors import Door, refusal_of
from tests.contract.echo import NOT_FINITE, PAUSE, SPLIT, EchoRunner
from tests.contract.place import PATIENCE, Place

CHAT = "/v1/chat/completions"
TORN = f"abc{PAUSE}{NOT_FINITE}d"


def stream_body(text: str, **fields) -> dict:
    return {"model": "echo", "messages": [{"role": "user", "content": text}], "stream": True, **fields}


def read_events(place: Place, text: str, **fields) -> list[dict]:
    """The JSON of each event; checks framing, headers and the one end mark."""
    reply = place.http.post(CHAT, json=stream_body(text, **fields))
    assert reply.status_code == 200
    assert reply.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert (reply.headers["cache-control"], reply.headers["x-accel-buffering"]) == ("no-cache", "no")
    *lines, done, rest = reply.text.split("\n\n")
    assert (done, rest) == ("data: [DONE]", "")
    assert all(line.startswith("data: {") and "\n" not in line for line in lines)
    return [json.loads(line.removeprefix("data: ")) for line in lines]


def choice_chunks(chunks: list[dict], index: int) -> list[dict]:
    return [chunk["choices"][0] for chunk in chunks if chunk["choices"] and chunk["choices"][0]["index"] == index]


def test_events_have_exactly_the_keys_of_the_reference(echo_place: Place) -> None:
    first, *middle, last = read_events(echo_place, "ab")
    keys = {"id", "object", "created", "model", "system_fingerprint", "choices"}
    assert all(set(chunk) == keys and len(chunk["choices"]) == 1 for chunk in (first, *middle, last))
    nothing = {"index": 0, "logprobs": None, "finish_reason": None}
    assert first["choices"] == [nothing | {"delta": {"role": "assistant", "content": ""}}]
    assert "".join(chunk["choices"][0]["delta"]["content"] for chunk in middle) == "ab"
    assert all(set(chunk["choices"][0]["delta"]) == {"content"} for chunk in middle)
    assert last["choices"] == [nothing | {"delta": {}, "finish_reason": "stop"}]


@pytest.mark.parametrize(("options", "asked"), [(None, False), ({}, False), ({"include_usage": None}, False)])
def test_nobody_gets_usage_unasked(echo_place: Place, options: dict | None, asked: bool) -> None:
    assert not any("usage" in chunk for chunk in read_events(echo_place, "ab", stream_options=options))
    off = read_events(echo_place, "ab", stream_options={"include_usage": False})
    assert not any("usage" in chunk for chunk in off)


def test_usage_is_null_but_in_the_last_chunk(echo_place: Place) -> None:
    *others, last = read_events(echo_place, "ab", n=2, stream_options={"include_usage": True})
    assert all(chunk["usage"] is None and chunk["choices"] for chunk in others)
    assert last["choices"] == [] and last["usage"]["completion_tokens"] == 6


def test_role_chunks_come_first_and_choices_interleave(echo_place: Place) -> None:
    chunks = read_events(echo_place, f"one{SPLIT}two!", n=3, logprobs=True)
    heads = [chunk["choices"][0] for chunk in chunks[:3]]
    assert [(head["index"], head["delta"]["role"], head["logprobs"]) for head in heads] == [
        (index, "assistant", None) for index in range(3)
    ]
    for index, text in enumerate(("one", "two!", "one")):
        parts = choice_chunks(chunks, index)
        assert "".join(part["delta"].get("content", "") for part in parts) == text
        assert [part["finish_reason"] for part in parts if part["finish_reason"]] == ["stop"]
        assert (parts[-1]["finish_reason"], parts[-1]["delta"], parts[-1]["logprobs"]) == ("stop", {}, None)
        for part in parts[1:-1]:  # entries go with their text
            spelled = bytes(byte for entry in part["logprobs"]["content"] for byte in entry["bytes"])
            assert spelled.decode() == part["delta"]["content"]
    assert len({(chunk["id"], chunk["created"], chunk["model"], chunk["system_fingerprint"]) for chunk in chunks}) == 1


def test_calls_come_in_fragments_with_id_and_name_once(echo_place: Place) -> None:
    call = '<tool_call>\n{"name": "f", "arguments": {"x": 1}}\n</tool_call>'
    tools = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]
    fragments = [
        fragment
        for part in choice_chunks(read_events(echo_place, f"{call}\n{call}", tools=tools), 0)
        for fragment in part["delta"].get("tool_calls", [])
    ]
    for index in (0, 1):
        first, *rest = [fragment for fragment in fragments if fragment["index"] == index]
        assert first["id"].startswith("call_") and first["type"] == "function"
        assert first["function"] == {"name": "f", "arguments": ""}
        assert all(set(fragment) == {"index", "function"} for fragment in rest)
        assert "".join(fragment["function"]["arguments"] for fragment in rest) == '{"x": 1}'
        assert all(fragment["function"]["arguments"] for fragment in rest), "no fragment is empty"
    assert [fragment["index"] for fragment in fragments] == sorted(fragment["index"] for fragment in fragments)


def test_the_helper_of_the_openai_package_puts_the_answer_together(echo_place: Place) -> None:
    fields = stream_body(f"one €{SPLIT}two", n=2, logprobs=True, stream_options={"include_usage": True})
    del fields["stream"]
    with echo_place.openai.chat.completions.stream(**fields) as stream:
        answer = stream.get_final_completion()
    assert [choice.message.content for choice in answer.choices] == ["one €", "two"]
    assert [choice.message.role for choice in answer.choices] == ["assistant"] * 2
    assert [choice.finish_reason for choice in answer.choices] == ["stop"] * 2
    assert answer.usage and answer.usage.completion_tokens == len("one €".encode()) + 1 + 3 + 1
    logprobs = answer.choices[0].logprobs
    assert logprobs and bytes(b for e in logprobs.content or [] for b in e.bytes or []) == "one €".encode()


def test_a_failure_before_the_first_token_is_a_plain_error(echo: Door) -> None:
    refusal = echo.refused(messages=[{"role": "user", "content": NOT_FINITE}])
    assert (refusal.status, refusal.type, refusal.code) == (500, "server_error", "numerical_error")


def test_a_torn_stream_has_an_error_event_and_no_end_mark(echo_place: Place, runner: EchoRunner) -> None:
    with echo_place.http.stream("POST", CHAT, json=stream_body(TORN)) as reply:
        lines = (line for line in reply.iter_lines() if line)
        first = next(lines)
        assert runner.held.wait(PATIENCE)
        runner.gate.set()
        chunks = [json.loads(line.removeprefix("data: ")) for line in (first, *lines)]
    assert chunks[0]["choices"][0]["delta"]["role"] == "assistant"
    assert set(chunks[-1]) == {"error"}
    error = chunks[-1]["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert (error["type"], error["param"], error["code"]) == ("server_error", None, "numerical_error")
    assert not any(choice["finish_reason"] for chunk in chunks[:-1] for choice in chunk["choices"])
    echo_place.wait_until_idle()


@pytest.mark.parametrize("over", ["rest", "grpc"])
def test_a_torn_stream_raises_in_the_clients(echo_place: Place, runner: EchoRunner, over: str) -> None:
    if over == "rest":
        stream = iter(echo_place.openai.chat.completions.create(**stream_body(TORN)))
    else:
        request = v1.ChatCompletionRequest(model="echo", messages=[v1.ChatMessage(role=v1.ROLE_USER, text=TORN)])
        stream = echo_place.stub.Stream(request)
    assert next(stream).choices[0].delta.role
    assert runner.held.wait(PATIENCE)
    runner.gate.set()
    with pytest.raises((openai.APIError, grpc.RpcError), match="not finite") as torn:
        list(stream)
    if over == "grpc":
        refusal = refusal_of(torn.value)
        assert (refusal.status, refusal.code, refusal.retry_after) == (500, "numerical_error", None)
    echo_place.wait_until_idle()
