"""The validator: every rule with a request that breaks it, and the bounds themselves, which are legal."""

from __future__ import annotations

import math

import pytest

from jaxchat import v1
from jaxchat.chat.request.validate import validate
from jaxchat.errors import ChatError

TEXT = v1.ChatMessage(role=v1.ROLE_USER, text="hi")
FUNCTION = v1.FunctionDefinition(name="f", parameters='{"type":"object"}')
TOOL = v1.Tool(type=v1.TOOL_TYPE_FUNCTION, function=FUNCTION)
NAMED = v1.NamedToolChoice(type=v1.TOOL_TYPE_FUNCTION, name="f")


def request(**fields):
    return v1.ChatCompletionRequest(**({"model": "m", "messages": [TEXT]} | fields))


def check(**fields):
    validate(request(**fields), vocab_size=50, model_ids=["m", "b"])


def refused(**fields):
    with pytest.raises(ChatError) as caught:
        check(**fields)
    return caught.value


def tool(name="f", **function):
    return v1.Tool(type=v1.TOOL_TYPE_FUNCTION, function=v1.FunctionDefinition(name=name, **function))


@pytest.mark.parametrize(
    "fields",
    [
        {"temperature": 0},
        {"temperature": 2},
        {"top_p": 0},
        {"top_p": 1},
        {"frequency_penalty": -2, "presence_penalty": 2},
        {"logit_bias": {0: -100, 49: 100}},
        {"logprobs": True, "top_logprobs": 20, "exact_logprobs": True},
        {"max_tokens": 1},
        {"max_completion_tokens": 2**31 - 1},
        {"n": 128},
        {"seed": -(2**63)},
        {"stop": ["a", "b", "c", "d"]},
        {"user": ""},
        {"response_format": v1.ResponseFormat(type=v1.RESPONSE_FORMAT_TYPE_TEXT)},
        {"tools": [TOOL]},
        {"tools": [TOOL], "parallel_tool_calls": True},
        {"tools": [TOOL], "tool_choice": v1.ToolChoice(mode=v1.TOOL_CHOICE_MODE_AUTO)},
        {"tools": [TOOL], "tool_choice": v1.ToolChoice(mode=v1.TOOL_CHOICE_MODE_REQUIRED)},
        {"tools": [TOOL], "tool_choice": v1.ToolChoice(named=NAMED), "parallel_tool_calls": False},
        {"tools": [TOOL], "response_format": v1.ResponseFormat(type=v1.RESPONSE_FORMAT_TYPE_JSON_OBJECT)},
        {"functions": [FUNCTION]},
        {"functions": [FUNCTION], "function_call": v1.FunctionCallChoice(name="f")},
        {"tool_choice": v1.ToolChoice(mode=v1.TOOL_CHOICE_MODE_NONE)},
        {"function_call": v1.FunctionCallChoice(mode=v1.TOOL_CHOICE_MODE_NONE)},
        {"stream_options": v1.StreamOptions()},
        {"prediction": v1.Prediction(type=1, text="")},
        {"prediction": v1.Prediction(type=1, parts=v1.ContentParts(parts=[v1.ContentPart(type=1, text="a")])), "n": 2},
    ],
    ids=str,
)
def test_legal(fields):
    check(**fields)


WRONG = [
    ({"model": ""}, "model"),
    ({"messages": []}, "messages"),
    ({"temperature": 2.000001}, "temperature"),
    ({"temperature": math.nan}, "temperature"),
    ({"top_p": -0.1}, "top_p"),
    ({"frequency_penalty": math.inf}, "frequency_penalty"),
    ({"presence_penalty": 2.1}, "presence_penalty"),
    ({"logit_bias": {50: 1}}, "logit_bias"),
    ({"logit_bias": {-1: 1}}, "logit_bias"),
    ({"logit_bias": {1: 101}}, "logit_bias"),
    ({"logit_bias": {1: math.nan}}, "logit_bias"),
    ({"logit_bias": dict.fromkeys(range(1025), 0)}, "logit_bias"),
    ({"top_logprobs": 0}, "top_logprobs"),
    ({"top_logprobs": 0, "logprobs": False}, "top_logprobs"),
    ({"top_logprobs": 21, "logprobs": True}, "top_logprobs"),
    ({"exact_logprobs": True}, "exact_logprobs"),
    ({"max_tokens": 0}, "max_tokens"),
    ({"max_tokens": 1, "max_completion_tokens": 1}, "max_tokens"),
    ({"n": 0}, "n"),
    ({"n": 129}, "n"),
    ({"stop": list("abcde")}, "stop"),
    ({"stop": [""]}, "stop"),
    ({"prediction": v1.Prediction()}, "prediction.type"),
    ({"prediction": v1.Prediction(type=1)}, "prediction.content"),
    ({"prediction": v1.Prediction(type=1, parts=v1.ContentParts())}, "prediction.content"),
    ({"prediction": v1.Prediction(type=1, parts={"parts": [{"type": 1}]})}, "prediction.content.0.text"),
    (
        {"prediction": v1.Prediction(type=1, parts={"parts": [{"type": 2, "refusal": "a"}]})},
        "prediction.content.0.type",
    ),
    ({"response_format": v1.ResponseFormat()}, "response_format"),
    ({"response_format": v1.ResponseFormat(type=3)}, "response_format"),
    ({"response_format": v1.ResponseFormat(type=77)}, "response_format.type"),
    ({"tools": [TOOL, TOOL]}, "tools"),
    ({"tools": [tool(f"f{i}") for i in range(129)]}, "tools"),
    ({"tools": [v1.Tool(function=FUNCTION)]}, "tools.0.type"),
    ({"tools": [TOOL, tool("a b")]}, "tools.1.function.name"),
    ({"tools": [tool("f\n")]}, "tools.0.function.name"),
    ({"tools": [tool("x" * 65)]}, "tools.0.function.name"),
    ({"tools": [v1.Tool(type=v1.TOOL_TYPE_FUNCTION)]}, "tools.0.function.name"),
    ({"tools": [tool(parameters="{")]}, "tools.0.function.parameters"),
    ({"tools": [tool(parameters="[]")]}, "tools.0.function.parameters"),
    ({"tools": [tool(parameters='{"a":NaN}')]}, "tools.0.function.parameters"),
    ({"tools": [tool(parameters='{"type":"array"}')]}, "tools.0.function.parameters"),
    ({"tools": [TOOL], "functions": [FUNCTION]}, "functions"),
    ({"functions": [FUNCTION, FUNCTION]}, "functions"),
    ({"parallel_tool_calls": True}, "parallel_tool_calls"),
    ({"tools": [TOOL], "tool_choice": v1.ToolChoice()}, "tool_choice"),
    ({"tool_choice": v1.ToolChoice(mode=v1.TOOL_CHOICE_MODE_AUTO)}, "tool_choice"),
    ({"tool_choice": v1.ToolChoice(named=NAMED)}, "tool_choice"),
    ({"tools": [tool("g")], "tool_choice": v1.ToolChoice(named=NAMED)}, "tool_choice"),
    ({"function_call": v1.FunctionCallChoice(mode=v1.TOOL_CHOICE_MODE_AUTO)}, "function_call"),
    ({"function_call": v1.FunctionCallChoice(name="f")}, "function_call"),
]


@pytest.mark.parametrize(("fields", "param"), WRONG, ids=[str(fields)[:60] for fields, _ in WRONG])
def test_refused(fields, param):
    error = refused(**fields)
    assert (error.param, error.http_status, error.type) == (param, 400, "invalid_request_error")


def test_unknown_model():
    error = refused(model="c")
    assert (error.http_status, error.code, error.param) == (404, "model_not_found", "model")


def test_fields_of_a_newer_protocol_are_refused():
    newer = b"\xf8\x3f\x01"  # field 1023, varint 1
    nested = v1.ChatMessage.FromString(TEXT.SerializeToString() + newer)
    whole = v1.ChatCompletionRequest.FromString(request().SerializeToString() + newer)
    with pytest.raises(ChatError) as caught:
        validate(whole, vocab_size=50, model_ids=["m"])
    assert (caught.value.param, caught.value.code) == ("field_1023", "unknown_parameter")
    assert refused(messages=[TEXT, nested]).param == "messages.1.field_1023"


def test_a_rule_of_structured_outputs_has_a_size_limit():
    limit = 256 << 10
    check(structured_outputs=v1.StructuredOutputs(regex="a" * limit))
    for rule in ({"regex": "é" * (limit // 2) + "a"}, {"grammar": "a" * (limit + 1)}, {"choice": ["a" * 512] * 513}):
        error = refused(structured_outputs=v1.StructuredOutputs(**rule))
        assert error.param == f"structured_outputs.{next(iter(rule))}" and "262144 bytes" in error.message


def test_min_tokens_is_bounded_by_either_limit_of_tokens():
    check(min_tokens=5, max_tokens=5)
    check(min_tokens=5)
    for name in ("max_tokens", "max_completion_tokens"):
        error = refused(**{"min_tokens": 6, name: 5})
        assert error.param == "min_tokens" and f"at most {name}, 5, got 6" in error.message
