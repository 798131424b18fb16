"""Responses requests as chat requests: the same fields, and what is accepted or rejected beside them."""

from __future__ import annotations

from typing import Any

import pytest

from jaxchat import v1
from jaxchat.chat.request.validate import validate
from jaxchat.errors import ChatError
from jaxchat.openai_json import request_from_json
from jaxchat.openai_responses import ResponsesRequest, responses_request_from_json

LOGPROBS, ENCRYPTED = "message.output_text.logprobs", "reasoning.encrypted_content"
SCHEMA = {"type": "object", "properties": {"z": {"const": 2**60}}}
FUNCTION = {"type": "function", "name": "f", "description": "F.", "parameters": SCHEMA, "strict": True}
ALLOWED: dict[str, Any] = {"type": "allowed_tools", "mode": "auto"}
CHAT_FUNCTION = {key: value for key, value in FUNCTION.items() if key != "type"}


def read(**fields: Any) -> ResponsesRequest:
    return responses_request_from_json({"model": "m", "input": "hi", **fields})


def chat(**fields: Any) -> v1.ChatCompletionRequest:
    return request_from_json({"model": "m", "messages": [{"role": "user", "content": "hi"}], **fields}).request


def refused(allow_unknown: bool = False, **fields: Any) -> ChatError:
    """The error of a request, of the chat validator too, with the names of the Responses request."""
    try:
        parsed = responses_request_from_json({"model": "m", "input": "hi", **fields}, allow_unknown=allow_unknown)
    except ChatError as error:
        return error
    with pytest.raises(ChatError) as caught:
        validate(parsed.request, vocab_size=100, model_ids=["m"])
    return parsed.names.rename(caught.value)


SAME: dict[str, Any] = {
    "temperature": 0,
    "top_p": 0.5,
    "user": "u",
    "seed": -(2**63),
    "frequency_penalty": 1,
    "presence_penalty": -0.5,
    "logit_bias": {"5": -100},
    "stop": ["a", "b"],
    "top_k": 4,
    "min_p": 0.1,
    "repetition_penalty": 1.1,
    "min_tokens": 2,
    "ignore_eos": True,
    "stop_token_ids": [7],
    "return_token_ids": True,
    "structured_outputs": {"regex": "a+"},
    "chat_template_kwargs": {"enable_thinking": False},
    "prediction": {"type": "content", "content": "hi"},
    "store": False,
    "service_tier": "auto",
}


@pytest.mark.parametrize("field", SAME)
def test_fields_of_the_same_name_mean_the_same(field: str) -> None:
    assert read(**{field: SAME[field]}).request == chat(**{field: SAME[field]})


@pytest.mark.parametrize(
    ("fields", "same"),
    [
        ({"max_output_tokens": 3}, {"max_completion_tokens": 3}),
        ({"safety_identifier": "s"}, {"user": "s"}),
        ({"reasoning": {"effort": "low", "summary": "auto"}}, {"reasoning_effort": "low"}),
        ({"reasoning": {}}, {}),
        ({"include": [LOGPROBS], "top_logprobs": 2}, {"logprobs": True, "top_logprobs": 2}),
        ({"include": [LOGPROBS], "exact_logprobs": True}, {"logprobs": True, "exact_logprobs": True}),
        ({"include": [], "top_logprobs": 0}, {}),
        ({"text": {"format": {"type": "json_object"}}}, {"response_format": {"type": "json_object"}}),
        (
            {"text": {"format": {"type": "json_schema", "name": "n", "schema": SCHEMA, "strict": True}}},
            {
                "response_format": {
                    "type": "json_schema",
                    "json_schema": {"name": "n", "schema": SCHEMA, "strict": True},
                }
            },
        ),
        ({"text": {"format": {"type": "text"}, "verbosity": "medium"}}, {"response_format": {"type": "text"}}),
        ({"tools": [FUNCTION]}, {"tools": [{"type": "function", "function": CHAT_FUNCTION}]}),
        (
            {"tools": [FUNCTION], "tool_choice": {"type": "function", "name": "f"}, "parallel_tool_calls": False},
            {
                "tools": [{"type": "function", "function": CHAT_FUNCTION}],
                "tool_choice": {"type": "function", "function": {"name": "f"}},
                "parallel_tool_calls": False,
            },
        ),
        ({"tools": [], "tool_choice": "auto", "parallel_tool_calls": True}, {}),
        ({"tool_choice": "none"}, {"tool_choice": "none"}),
    ],
)
def test_fields_of_other_names(fields: dict, same: dict) -> None:
    assert read(**fields).request == chat(**same)


@pytest.mark.parametrize(
    "fields",
    [
        {"background": False, "truncation": "disabled", "prompt_cache_retention": "in_memory", "max_tool_calls": 3},
        {"prompt_cache_key": "k", "client_metadata": {"a": "b"}, "metadata": {"a": "b"}, "include": [ENCRYPTED]},
        {"previous_response_id": None, "conversation": None, "prompt": None, "mood": None},
    ],
)
def test_what_needs_nothing_is_accepted(fields: dict) -> None:
    assert read(**fields).request == chat()


def test_a_stream_asks_for_the_usage() -> None:
    parsed = read(stream=True, stream_options={"include_obfuscation": False})
    assert parsed.stream
    assert parsed.request == chat(stream=True, stream_options={"include_usage": True})
    assert not read(stream=False).stream


def test_namespaces_are_functions_under_longer_names() -> None:
    group = {
        "type": "namespace",
        "name": "files",
        "description": "Of files.",
        "tools": [FUNCTION, FUNCTION | {"name": "g"}],
    }
    parsed = read(tools=[group], tool_choice={"type": "function", "namespace": "files", "name": "g"})
    first, second = (tool.function for tool in parsed.request.tools)
    assert (first.name, first.description) == ("files__f", "Of files.\n\nF.")
    assert (second.name, second.description) == ("files__g", "F.")
    assert parsed.request.tool_choice.named.name == "files__g"
    assert parsed.namespaces == {"files__f": ("files", "f"), "files__g": ("files", "g")}


def test_allowed_tools_are_the_only_ones() -> None:
    choice = {"type": "allowed_tools", "mode": "required", "tools": [{"type": "function", "name": "g"}]}
    parsed = read(tools=[FUNCTION, FUNCTION | {"name": "g"}], tool_choice=choice)
    assert [tool.function.name for tool in parsed.request.tools] == ["g"]
    assert parsed.request.tool_choice.mode == v1.TOOL_CHOICE_MODE_REQUIRED
    assert [tool["name"] for tool in parsed.echo["tools"]] == ["f", "g"]
    bad = [FUNCTION | {"name": "g", "parameters": {"type": "array"}}]
    error = refused(tools=[FUNCTION, *bad], tool_choice=choice)
    assert error.param == "tools.1.parameters"


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"temperature": 3}, "temperature"),
        ({"temperature": "hot"}, "temperature"),
        ({"max_output_tokens": 0}, "max_output_tokens"),
        ({"max_output_tokens": 2, "min_tokens": 3}, "min_tokens"),
        ({"input": None}, "input"),
        ({"input": 3}, "input"),
        ({"instructions": 3}, "instructions"),
        ({"model": None}, "model"),
        ({"store": True}, "store"),
        ({"background": True}, "background"),
        ({"truncation": "auto"}, "truncation"),
        ({"service_tier": "flex"}, "service_tier"),
        ({"previous_response_id": "resp_1"}, "previous_response_id"),
        ({"conversation": {"id": "c"}}, "conversation"),
        ({"prompt": {"id": "p"}}, "prompt"),
        ({"context_management": [{"type": "compaction"}]}, "context_management"),
        ({"messages": []}, "messages"),
        ({"n": 2}, "n"),
        ({"max_tokens": 2}, "max_tokens"),
        ({"response_format": {"type": "text"}}, "response_format"),
        ({"max_tool_calls": 0}, "max_tool_calls"),
        ({"prompt_cache_retention": "24h"}, "prompt_cache_retention"),
        ({"prompt_cache_key": 1}, "prompt_cache_key"),
        ({"top_logprobs": 2}, "top_logprobs"),
        ({"top_logprobs": 21, "include": [LOGPROBS]}, "top_logprobs"),
        ({"exact_logprobs": True}, "exact_logprobs"),
        ({"include": ["file_search_call.results"]}, "include.0"),
        ({"include": "x"}, "include"),
        ({"metadata": {"a": 1}}, "metadata.a"),
        ({"metadata": {"a": "x" * 513}}, "metadata.a"),
        ({"metadata": {"k" * 65: ""}}, "metadata"),
        ({"metadata": {str(i): "" for i in range(17)}}, "metadata"),
        ({"user": "u", "safety_identifier": "s"}, "safety_identifier"),
        ({"stream_options": {"include_obfuscation": False}}, "stream_options"),
        ({"stream": True, "stream_options": {"include_usage": True}}, "stream_options.include_usage"),
        ({"stream": "yes"}, "stream"),
        ({"reasoning": {"summary": "detailed"}}, "reasoning.summary"),
        ({"reasoning": {"effort": "huge"}}, "reasoning.effort"),
        ({"text": {"verbosity": "low"}}, "text.verbosity"),
        ({"text": {"format": {}}}, "text.format.type"),
        ({"text": {"format": {"type": "xml"}}}, "text.format.type"),
        ({"text": {"format": {"type": "text", "name": "n"}}}, "text.format.name"),
        ({"text": {"format": {"type": "json_schema", "schema": {}}}}, "text.format.name"),
        ({"text": {"format": {"type": "json_schema", "name": "n"}}}, "text.format.schema"),
        ({"text": {"format": {"type": "json_schema", "name": "n", "schema": 1}}}, "text.format.schema"),
        ({"text": {"format": {"type": "json_object"}}, "structured_outputs": {"regex": "a"}}, "structured_outputs"),
        ({"tools": [{"type": "web_search"}]}, "tools.0.type"),
        ({"tools": [{"name": "f"}]}, "tools.0.type"),
        ({"tools": [{"type": 1}]}, "tools.0.type"),
        ({"tools": [{"type": "function"}]}, "tools.0.name"),
        ({"tools": [FUNCTION, FUNCTION | {"name": "a b"}]}, "tools.1.name"),
        ({"tools": [FUNCTION | {"parameters": {"type": "array"}}]}, "tools.0.parameters"),
        ({"tools": [FUNCTION, FUNCTION]}, "tools"),
        ({"tools": [FUNCTION | {"defer_loading": True}]}, "tools.0.defer_loading"),
        ({"tools": [{"type": "namespace", "name": "n", "tools": []}]}, "tools.0.tools"),
        ({"tools": [{"type": "namespace", "tools": [FUNCTION]}]}, "tools.0.name"),
        ({"tools": [{"type": "namespace", "name": "n", "tools": [{"type": "custom"}]}]}, "tools.0.tools.0.type"),
        ({"tools": [{"type": "namespace", "name": "n" * 64, "tools": [FUNCTION]}]}, "tools.0.tools.0.name"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"tool_choice": "often", "tools": [FUNCTION]}, "tool_choice"),
        ({"tool_choice": {"type": "function", "name": "g"}, "tools": [FUNCTION]}, "tool_choice"),
        ({"tool_choice": {"type": "web_search"}, "tools": [FUNCTION]}, "tool_choice"),
        ({"tool_choice": {"type": "allowed_tools", "mode": "auto"}, "tools": [FUNCTION]}, "tool_choice"),
        ({"tool_choice": ALLOWED | {"tools": [{"type": "mcp", "name": "f"}]}, "tools": [FUNCTION]}, "tool_choice"),
        ({"tool_choice": ALLOWED | {"tools": [{"type": "function", "name": "g"}]}, "tools": [FUNCTION]}, "tool_choice"),
    ],
)
def test_errors_name_the_fields_of_the_request(fields: dict, param: str) -> None:
    error = refused(**fields)
    assert (error.http_status, error.param) == (400, param)
    assert repr(param) in error.message
    for word in ("response_format", "max_completion_tokens", "messages"):
        assert word not in error.message or word in fields


def test_what_a_server_may_ignore() -> None:
    ignored = {"tools": [{"type": "web_search"}], "mood": 1, "prompt": {"id": "p"}, "include": ["x"], "store": True}
    parsed = responses_request_from_json({"model": "m", "input": "hi", **ignored}, allow_unknown=True)
    assert parsed.request == chat()
    assert (parsed.echo["tools"], parsed.echo["store"]) == ([], False)
    assert refused(allow_unknown=True, previous_response_id="resp_1").param == "previous_response_id"


def test_what_a_server_ignored_is_not_repeated() -> None:
    ignored = {"x": float("inf"), "y": "\ud800"}  # `1e400` in JSON; neither can be sent
    function = {"type": "function", "name": "f"}
    fields = {"text": {"format": {"type": "text", **ignored}}, "tools": [function], "tool_choice": function | ignored}
    echo = responses_request_from_json({"model": "m", "input": "hi", **fields}, allow_unknown=True).echo
    assert (echo["text"]["format"], echo["tool_choice"]) == ({"type": "text"}, function)


def test_the_response_repeats_settings_and_defaults() -> None:
    echo = read().echo
    assert (echo["temperature"], echo["tool_choice"], echo["text"]["format"]) == (1.0, "auto", {"type": "text"})
    fields = {"temperature": 0, "metadata": {"a": "b"}, "instructions": "Be brief.", "max_tool_calls": 2}
    assert fields.items() <= read(**fields).echo.items()
    tools = read(tools=[{"type": "function", "name": "f"}]).echo["tools"]
    assert tools == [{"type": "function", "name": "f", "description": None, "parameters": None, "strict": False}]
    assert read(reasoning={"summary": "auto"}).echo["reasoning"] == {"effort": None, "summary": "auto"}
