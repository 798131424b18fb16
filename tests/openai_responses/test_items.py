"""Input items as chat messages: thoughts, text and calls of one turn become one message."""

from __future__ import annotations

from typing import Any

import pytest

from jaxchat.openai_json import request_from_json
from jaxchat.openai_responses.thoughts import sealed
from tests.openai_responses.test_request import read, refused

USER = {"role": "user", "content": "hi"}
CALL = {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}"}
OUTPUT = {"type": "function_call_output", "call_id": "c1", "output": "1"}
REASONING = {"type": "reasoning", "id": "rs_1", "summary": [], "content": [{"type": "reasoning_text", "text": "hm"}]}


def said(*texts: str, **fields: Any) -> dict[str, Any]:
    """A message as the API returns it."""
    parts = [{"type": "output_text", "text": text, "annotations": [], "logprobs": [], "parsed": None} for text in texts]
    return {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed", "content": parts, **fields}


def chat_call(call_id: str = "c1", name: str = "f") -> dict[str, Any]:
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": "{}"}}


def parts(*texts: str) -> list[dict[str, Any]]:
    return [{"type": "text", "text": text} for text in texts]


def result(call_id: str = "c1", content: Any = "1") -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": call_id, "content": content}


CONVERSATIONS: dict[str, tuple[Any, list[dict[str, Any]]]] = {
    "a string": ("hi", [USER]),
    "roles": (
        [{"type": "message", "role": "developer", "content": "x"}, USER],
        [{"role": "developer", "content": "x"}, USER],
    ),
    "parts": (
        [{"role": "user", "content": [{"type": "input_text", "text": "a"}, {"type": "input_text", "text": "b"}]}],
        [{"role": "user", "content": parts("a", "b")}],
    ),
    "an answer": ([USER, said("Yes."), USER], [USER, {"role": "assistant", "content": parts("Yes.")}, USER]),
    "a refusal": (
        [USER, {"role": "assistant", "content": [{"type": "refusal", "refusal": "No."}]}],
        [USER, {"role": "assistant", "content": [{"type": "refusal", "refusal": "No."}]}],
    ),
    "thoughts": (
        [USER, REASONING, said("Yes."), USER],
        [USER, {"role": "assistant", "reasoning_content": "hm", "content": parts("Yes.")}, USER],
    ),
    "no thoughts": ([USER, REASONING | {"content": []}, USER], [USER, USER]),
    "thoughts alone": ([USER, REASONING, USER], [USER, {"role": "assistant", "reasoning_content": "hm"}, USER]),
    "a call": (
        [USER, CALL, OUTPUT],
        [USER, {"role": "assistant", "content": None, "tool_calls": [chat_call()]}, result()],
    ),
    "thoughts, text and two calls": (
        [USER, REASONING, said("Look."), CALL, CALL | {"call_id": "c2"}, OUTPUT | {"call_id": "c2"}, OUTPUT],
        [
            USER,
            {
                "role": "assistant",
                "reasoning_content": "hm",
                "content": parts("Look."),
                "tool_calls": [chat_call(), chat_call("c2")],
            },
            result("c2"),
            result(),
        ],
    ),
    "calls in two turns": (
        [USER, CALL, OUTPUT, CALL, OUTPUT],
        [USER, *[{"role": "assistant", "content": None, "tool_calls": [chat_call()]}, result()] * 2],
    ),
    "text after a call": (
        [USER, said("a"), CALL, said("b"), OUTPUT],
        [USER, {"role": "assistant", "content": parts("a", "b"), "tool_calls": [chat_call()]}, result()],
    ),
    "two answers": (
        [USER, {"role": "assistant", "content": "a"}, {"role": "assistant", "content": "b"}],
        [USER, {"role": "assistant", "content": "a"}, {"role": "assistant", "content": "b"}],
    ),
    "a call in a namespace": (
        [USER, CALL | {"namespace": "n"}, OUTPUT | {"name": "f", "namespace": "n", "id": "fco_1"}],
        [USER, {"role": "assistant", "content": None, "tool_calls": [chat_call(name="n__f")]}, result()],
    ),
    "an output in parts": (
        [USER, CALL, OUTPUT | {"output": [{"type": "input_text", "text": "1"}]}],
        [USER, {"role": "assistant", "content": None, "tool_calls": [chat_call()]}, result(content=parts("1"))],
    ),
    "system messages at the start": (
        [
            {"role": "developer", "content": "a"},
            {"role": "system", "content": [{"type": "input_text", "text": "b"}]},
            USER,
        ],
        [{"role": "system", "content": "a\n\nb"}, USER],
    ),
    "a system message later": (
        [USER, {"role": "system", "content": "a"}, USER],
        [USER, {"role": "system", "content": "a"}, USER],
    ),
}


@pytest.mark.parametrize(("items", "messages"), CONVERSATIONS.values(), ids=list(CONVERSATIONS))
def test_items_are_messages(items: Any, messages: list[dict]) -> None:
    assert read(input=items).request == request_from_json({"model": "m", "messages": messages}).request


def test_instructions_come_first() -> None:
    system = {"role": "system", "content": "a"}
    for items, text in (([USER], "x"), ([system, USER], "x\n\na"), ([system | {"content": ""}, USER], "x")):
        expected = {"model": "m", "messages": [system | {"content": text}, USER]}
        assert read(input=items, instructions="x").request == request_from_json(expected).request
    assert read(instructions="").request == read().request


def test_encrypted_thoughts_are_thoughts() -> None:
    bare = {"type": "reasoning", "summary": [], "encrypted_content": sealed("hm — ö")}
    both = bare | {"content": [{"type": "reasoning_text", "text": "hm — ö"}]}
    for item in (bare, both):
        message = read(input=[USER, item, said("Yes.")]).request.messages[1]
        assert message.reasoning_content == "hm — ö"


@pytest.mark.parametrize(
    ("items", "param"),
    [
        ([], "input"),
        ([1], "input.0"),
        ([{"content": "hi"}], "input.0.type"),
        ([{"type": 1}], "input.0.type"),
        ([{"type": "item_reference", "id": "msg_1"}], "input.0.type"),
        ([{"type": "web_search_call"}], "input.0.type"),
        ([{"role": "tool", "content": "x"}], "input.0.role"),
        ([{"type": "message", "content": "x"}], "input.0.role"),
        ([{"role": "user"}], "input.0.content"),
        ([{"role": "system"}, {"role": "system", "content": "x"}], "input.0.content"),
        ([{"role": "user", "content": []}], "input.0.content"),
        ([{"role": "user", "content": 1}], "input.0.content"),
        ([{"role": "user", "content": [{"type": "input_image", "image_url": "x"}]}], "input.0.content.0.type"),
        ([{"role": "user", "content": [{"text": "x"}]}], "input.0.content.0.type"),
        ([{"role": "user", "content": [{"type": "input_text"}]}], "input.0.content.0.text"),
        ([{"role": "user", "content": [{"type": "refusal", "refusal": "x"}]}], "input.0.content.0.type"),
        ([USER | {"name": "Ann"}], "input.0.name"),
        ([USER | {"status": "done"}], "input.0.status"),
        ([USER, said("x", phase="commentary")], "input.1.phase"),
        ([USER, CALL], "input.1.call_id"),
        ([USER, CALL, USER], "input.1.call_id"),
        ([USER, OUTPUT], "input.1.call_id"),
        ([USER, CALL, OUTPUT, OUTPUT], "input.3.call_id"),
        ([USER, CALL, CALL], "input.2.call_id"),
        ([USER, CALL, CALL | {"call_id": "c2"}, OUTPUT, said("x")], "input.2.call_id"),
        ([USER, CALL | {"call_id": None}], "input.1.call_id"),
        ([USER, CALL | {"name": None}], "input.1.name"),
        ([USER, CALL | {"arguments": {}}], "input.1.arguments"),
        ([USER, CALL, OUTPUT | {"output": None}], "input.2.output"),
        ([USER, CALL, OUTPUT | {"output": []}], "input.2.output"),
        ([USER, CALL, OUTPUT | {"output": [{"type": "input_file"}]}], "input.2.output.0.type"),
        ([USER, REASONING | {"encrypted_content": "gAAAA"}], "input.1.encrypted_content"),
        ([USER, REASONING | {"encrypted_content": sealed("else")}], "input.1.encrypted_content"),
        ([USER, {"type": "reasoning", "summary": [{"type": "summary_text", "text": "x"}]}], "input.1.content"),
        ([USER, REASONING | {"content": [{"type": "reasoning_text"}]}], "input.1.content.0.text"),
        ([USER, said("x") | {"content": [{"type": "output_text", "text": "\ud800"}]}], "input.1.content.0.text"),
    ],
)
def test_errors_name_the_item_and_its_field(items: Any, param: str) -> None:
    error = refused(input=items)
    assert (error.http_status, error.param) == (400, param)
    assert repr(param) in error.message


def test_errors_about_messages_name_items() -> None:
    items = [USER, REASONING, said("Look."), CALL, CALL | {"call_id": "c2"}, OUTPUT, OUTPUT | {"call_id": "c2"}]
    name = read(input=items, instructions="x").names.name
    assert [name(f"messages.{i}.role") for i in range(5)] == [
        "instructions",
        "input.0.role",
        "input.1.role",
        "input.5.role",
        "input.6.role",
    ]
    for param, expected in {
        "messages": "input",
        "messages.2": "input.1",
        "messages.2.reasoning_content": "input.1.content",
        "messages.2.content.0.text": "input.2.content.0.text",
        "messages.2.tool_calls": "input.3",
        "messages.2.tool_calls.1.id": "input.4.call_id",
        "messages.2.tool_calls.1.function.name": "input.4.name",
        "messages.3.tool_call_id": "input.5.call_id",
        "messages.4.content": "input.6.output",
        "response_format.json_schema.schema": "text.format.schema",
        "response_format": "text.format",
        "seed": "seed",
    }.items():
        assert name(param) == expected
