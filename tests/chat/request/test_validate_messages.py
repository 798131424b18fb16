"""Rules for conversations: what each role carries, and that tool calls and their results fit together."""

from __future__ import annotations

import pytest

from jaxchat.chat.request.validate import validate
from jaxchat.errors import ChatError
from jaxchat.openai_json import request_from_json

USER = {"role": "user", "content": "hi"}
REFUSED = {"type": "refusal", "refusal": "no"}
PART = {"type": "text", "text": "a"}
NAMELESS = {"id": "a", "type": "function"}


def calls(*ids):
    function = {"name": "f", "arguments": "opaque"}
    return {
        "role": "assistant",
        "tool_calls": [{"id": i, "type": "function", "function": function} for i in ids],
    }


def result(call_id):
    return {"role": "tool", "content": "r", "tool_call_id": call_id}


def check(*messages):
    request = request_from_json({"model": "m", "messages": list(messages)}).request
    validate(request, vocab_size=50, model_ids=["m"])


@pytest.mark.parametrize(
    "messages",
    [
        [USER],
        [{"role": "system", "content": [PART]}, USER],
        [{"role": "developer", "content": "d"}],
        [USER, {"role": "assistant", "content": "a"}],
        [USER, {"role": "assistant", "content": [PART, REFUSED]}],
        [USER, {"role": "assistant", "refusal": "no", "reasoning_content": "hm"}],
        [USER, calls("a", "b"), result("b"), result("a"), USER],
        [calls("a"), result("a"), calls("a"), result("a")],
        [{"role": "tool", "content": [PART], "tool_call_id": "a"} if i else calls("a") for i in range(2)],
        [{"role": "assistant", "function_call": {"name": "f", "arguments": ""}}],
        [{"role": "function", "name": "f"}],
        [USER | {"content": "", "name": "a-B_9"}],
    ],
)
def test_legal(messages):
    check(*messages)


@pytest.mark.parametrize(
    ("messages", "param"),
    [
        ([{"content": "hi"}], "messages.0.role"),
        ([{"role": "user"}], "messages.0.content"),
        ([{"role": "system", "content": None}], "messages.0.content"),
        ([{"role": "user", "content": [REFUSED]}], "messages.0.content.0.type"),
        ([{"role": "assistant", "content": [REFUSED | {"refusal": None}]}], "messages.0.content.0.refusal"),
        ([{"role": "assistant", "content": [REFUSED | {"text": "a"}]}], "messages.0.content.0.text"),
        ([{"role": "assistant", "content": [PART | {"refusal": "a"}]}], "messages.0.content.0.refusal"),
        ([{"role": "assistant", "content": "a", "refusal": "no"}], "messages.0.refusal"),
        ([USER | {"refusal": "no"}], "messages.0.refusal"),
        ([USER | {"reasoning_content": "hm"}], "messages.0.reasoning_content"),
        ([{"role": "tool", "content": "r"}], "messages.0.tool_call_id"),
        ([calls("a"), {"role": "tool", "tool_call_id": "a"}], "messages.1.content"),
        ([{"role": "function", "content": "r"}], "messages.0.name"),
        ([USER | {"name": "a b"}], "messages.0.name"),
        ([USER | {"name": ""}], "messages.0.name"),
        ([USER | {"tool_call_id": "a"}], "messages.0.tool_call_id"),
        ([calls("a") | {"role": "user", "content": "x"}], "messages.0.tool_calls"),
        ([USER | {"function_call": {"name": "f", "arguments": ""}}], "messages.0.function_call"),
        ([{"role": "user", "content": [{"text": "a"}]}], "messages.0.content.0.type"),
        ([{"role": "user", "content": [PART, {"type": "text"}]}], "messages.0.content.1.text"),
        ([USER, result("a")], "messages.1.tool_call_id"),
        ([calls("a"), result("b")], "messages.1.tool_call_id"),
        ([calls("a"), result("a"), result("a")], "messages.2.tool_call_id"),
        ([calls("a", "b"), result("a"), USER], "messages.0.tool_calls"),
        ([calls("a")], "messages.0.tool_calls"),
        ([calls("a", "a"), result("a")], "messages.0.tool_calls.1.id"),
        ([calls("")], "messages.0.tool_calls.0.id"),
        ([{"role": "assistant", "tool_calls": [NAMELESS]}], "messages.0.tool_calls.0.function.name"),
        ([{"role": "assistant", "tool_calls": [{"id": "a"}]}], "messages.0.tool_calls.0.type"),
        ([{"role": "assistant", "function_call": {"name": "f"}}], "messages.0.function_call.arguments"),
    ],
)  # fmt: skip
def test_refused(messages, param):
    with pytest.raises(ChatError) as caught:
        check(*messages)
    assert (caught.value.param, caught.value.http_status) == (param, 400)
