"""Answers as JSON: the keys that must be there, and those that must not."""

from __future__ import annotations

import json

from jaxchat import v1
from jaxchat.errors import context_length_exceeded, safe_repr
from jaxchat.openai_json import chunk_to_json, completion_to_json, error_to_json


def completion(**choice):
    message = choice.pop("message", v1.AssistantMessage(role=v1.ROLE_ASSISTANT, content="hi"))
    answer = v1.ChatCompletion(id="chatcmpl-x", created=7, model="m", system_fingerprint="fp_0")
    answer.choices.add(index=0, message=message, finish_reason=v1.FINISH_REASON_STOP, **choice)
    answer.seed_used = 5
    return completion_to_json(answer)


def delta(delta=None, **fields):
    chunk = v1.ChatCompletionChunk(id="chatcmpl-x", created=7, model="m", system_fingerprint="fp_0")
    chunk.choices.add(index=1, delta=delta or v1.Delta(), **fields)
    return chunk_to_json(chunk, False)["choices"][0]


def call(**fields):
    function = v1.FunctionCall(name="f", arguments="{}")
    return v1.ToolCall(id="call_1", type=v1.TOOL_TYPE_FUNCTION, function=function, **fields)


CALL = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{}"}}


def test_plain_completion():
    assert completion() == {
        "id": "chatcmpl-x",
        "object": "chat.completion",
        "created": 7,
        "model": "m",
        "system_fingerprint": "fp_0",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "hi"},
                "logprobs": None,
                "finish_reason": "stop",
            }
        ],
        "usage": {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0},
    }


def test_calls_have_null_content():
    message = v1.AssistantMessage(role=v1.ROLE_ASSISTANT, tool_calls=[call()])
    choice = completion(message=message, logprobs=v1.ChoiceLogprobs())["choices"][0]
    assert choice["message"] == {"role": "assistant", "content": None, "tool_calls": [CALL]}
    assert choice["logprobs"] == {"content": None}


def test_legacy_call():
    message = v1.AssistantMessage(function_call=v1.FunctionCall(name="f", arguments="{}"))
    assert completion(message=message)["choices"][0]["message"] == {
        "role": "assistant",
        "content": None,
        "function_call": {"name": "f", "arguments": "{}"},
    }


def test_logprobs():
    entry = v1.TokenLogprob(token="\\xff", logprob=-9999, bytes=b"\xff", token_id=9)
    entry.top_logprobs.add(token="", logprob=-0.5)
    choice = completion(logprobs=v1.ChoiceLogprobs(content=[entry]))["choices"][0]
    assert choice["logprobs"] == {
        "content": [
            {
                "token": "\\xff",
                "logprob": -9999.0,
                "bytes": [255],
                "top_logprobs": [{"token": "", "logprob": -0.5, "bytes": None}],
            }
        ]
    }


def test_deltas():
    role = v1.ROLE_ASSISTANT
    empty = {"index": 1, "delta": {}, "logprobs": None, "finish_reason": None}
    assert delta() == empty
    assert delta(v1.Delta(role=role, content=""))["delta"] == {"role": "assistant", "content": ""}
    assert delta(v1.Delta(role=role))["delta"] == {"role": "assistant", "content": None}
    assert delta(v1.Delta(content="x"))["delta"] == {"content": "x"}
    assert delta(finish_reason=v1.FINISH_REASON_LENGTH) == empty | {"finish_reason": "length"}


def test_call_fragments():
    first = v1.Delta()
    first.tool_calls.add(
        index=0,
        id="call_1",
        type=v1.TOOL_TYPE_FUNCTION,
        function=v1.FunctionCall(name="f", arguments=""),
    )
    then = v1.Delta()
    then.tool_calls.add(index=0, function=v1.FunctionCall(arguments="{"))
    assert delta(first)["delta"] == {
        "tool_calls": [{"index": 0, "id": "call_1", "type": "function", "function": {"name": "f", "arguments": ""}}]
    }
    assert delta(then)["delta"] == {"tool_calls": [{"index": 0, "function": {"arguments": "{"}}]}


def test_usage_key_of_chunks():
    chunk = v1.ChatCompletionChunk(id="x")
    assert "usage" not in chunk_to_json(chunk, False)
    assert chunk_to_json(chunk, True)["usage"] is None
    chunk.usage.total_tokens = 3
    assert chunk_to_json(chunk, True)["usage"]["total_tokens"] == 3


def test_errors():
    error = error_to_json(context_length_exceeded(100, 90, 20))["error"]
    assert (error["param"], error["code"]) == ("messages", "context_length_exceeded")
    assert error["message"].startswith("This model's maximum context length is 100 tokens. However, you requested 110 ")
    assert len(safe_repr("x" * 500)) == 100
    assert safe_repr("<" + "x" * 500 + ">").startswith("'<xx") and safe_repr("<" + "x" * 500 + ">").endswith("xx>'")
    json.dumps(safe_repr("\ud800"), ensure_ascii=False).encode()
    assert safe_repr(10**5000) == "<int>"


def test_token_ids_are_keys_only_where_the_answer_has_them():
    assert completion(token_ids=[5, 0])["choices"][0]["token_ids"] == [5, 0]
    answer = v1.ChatCompletion(prompt_token_ids=[1, 2])
    assert completion_to_json(answer)["prompt_token_ids"] == [1, 2]
    assert delta(token_ids=[7])["token_ids"] == [7]
    chunk = v1.ChatCompletionChunk(prompt_token_ids=[3])
    assert chunk_to_json(chunk, False)["prompt_token_ids"] == [3]
    assert not {"token_ids", "prompt_token_ids"} & {*completion(), *completion()["choices"][0], *delta()}
