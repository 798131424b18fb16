"""Requests from JSON: strict types, null as absent, unknown keys, and that nothing but ChatError comes out."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxchat import v1
from jaxchat.chat.request.validate import validate
from jaxchat.errors import ChatError
from jaxchat.openai_json import request_from_json, request_from_kwargs
from jaxchat.openai_json.request import REQUEST

USER = {"role": "user", "content": "hi"}
TOOL = {"type": "function", "function": {"name": "f"}}


def body(**fields):
    return {"model": "m", "messages": [USER], **fields}


def refused(fields, **options):
    with pytest.raises(ChatError) as caught:
        request_from_json(body(**fields), **options)
    assert caught.value.http_status == 400
    return caught.value


def test_every_field_arrives():
    parameters = {"type": "object", "properties": {"z": {"const": 2**60}, "a": {"minimum": 1.0}}}
    fields = {
        "frequency_penalty": 1,
        "presence_penalty": -0.5,
        "logit_bias": {"5": -100, "007": 1.5},
        "logprobs": True,
        "top_logprobs": 0,
        "max_tokens": 3,
        "n": 2,
        "response_format": {"type": "json_schema", "json_schema": {"name": "s", "schema": {"b": 1, "a": 2}}},
        "seed": -(2**63),
        "stop": "end",
        "stream": True,
        "stream_options": {"include_usage": True},
        "temperature": 0,
        "top_p": 0.1,
        "tools": [{"type": "function", "function": {"name": "f", "parameters": parameters, "strict": False}}],
        "tool_choice": {"type": "function", "function": {"name": "f"}},
        "parallel_tool_calls": False,
        "user": "u\0",
        "exact_logprobs": True,
    }
    request, stream, include_usage = request_from_json(body(**fields))
    assert stream and include_usage
    assert request.HasField("temperature") and request.temperature == 0
    assert request.top_p == 0.1
    assert dict(request.logit_bias) == {5: -100, 7: 1.5}
    assert request.seed == -(2**63)
    assert list(request.stop) == ["end"]
    assert request.tool_choice.named.name == "f"
    assert request.tool_choice.named.type == v1.TOOL_TYPE_FUNCTION
    assert request.tools[0].function.parameters == json.dumps(parameters, separators=(",", ":"))
    assert request.response_format.json_schema.schema == '{"b":1,"a":2}'
    assert request.HasField("parallel_tool_calls") and not request.parallel_tool_calls
    assert request.user == "u\0"


def test_messages_of_all_roles():
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "not json"}}
    messages = [
        {"role": "developer", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": ""}]},
        {"role": "user", "content": "", "name": "bob"},
        {"role": "assistant", "content": None, "tool_calls": [call], "refusal": None},
        {"role": "tool", "content": "r", "tool_call_id": "c"},
        {"role": "assistant", "function_call": {"name": "f", "arguments": ""}},
        {"role": "function", "name": "f", "content": None},
    ]
    request = request_from_json({"model": "m", "messages": messages}).request
    assert [m.role for m in request.messages] == [
        v1.ROLE_DEVELOPER,
        v1.ROLE_USER,
        v1.ROLE_ASSISTANT,
        v1.ROLE_TOOL,
        v1.ROLE_ASSISTANT,
        v1.ROLE_FUNCTION,
    ]
    assert [part.text for part in request.messages[0].parts.parts] == ["a", ""]
    assert request.messages[1].WhichOneof("content_kind") == "text"
    assert request.messages[2].WhichOneof("content_kind") is None
    validate(request, vocab_size=9, model_ids=["m"])


def test_null_is_absent():
    nothing = dict.fromkeys(REQUEST.keys() - {"model", "messages"}) | {"stream": None, "verbosity": None}
    assert request_from_json(body(**nothing)) == request_from_json(body())


WRONG = [
    ({"temperature": True}, "temperature"),
    ({"temperature": "1"}, "temperature"),
    ({"temperature": math.nan}, "temperature"),
    ({"temperature": 10**400}, "temperature"),
    ({"n": 1.0}, "n"),
    ({"n": True}, "n"),
    ({"n": 2**31}, "n"),
    ({"seed": 2**63}, "seed"),
    ({"seed": 1.5}, "seed"),
    ({"logprobs": 1}, "logprobs"),
    ({"stream": 1}, "stream"),
    ({"model": 1}, "model"),
    ({"messages": {}}, "messages"),
    ({"messages": ["hi"]}, "messages.0"),
    ({"messages": [{"role": "boss"}]}, "messages.0.role"),
    ({"messages": [{"role": "user", "content": "\ud800"}]}, "messages.0.content"),
    ({"messages": [{"role": "user", "content": 5}]}, "messages.0.content"),
    (
        {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}]},
        "messages.0.content.0.type",
    ),
    ({"stop": [1]}, "stop"),
    ({"stop": {}}, "stop"),
    ({"logit_bias": []}, "logit_bias"),
    ({"logit_bias": {"x": 1}}, "logit_bias"),
    ({"logit_bias": {"-1": 1}}, "logit_bias"),
    ({"logit_bias": {"٣": 1}}, "logit_bias"),
    ({"logit_bias": {"9" * 5000: 1}}, "logit_bias"),
    ({"logit_bias": {"1": 1, "01": 1}}, "logit_bias"),
    ({"logit_bias": {"1": "1"}}, "logit_bias"),
    ({"logit_bias": {"1": None}}, "logit_bias"),
    ({"response_format": "json"}, "response_format"),
    ({"response_format": {"type": "xml"}}, "response_format"),
    ({"response_format": {"type": "text", "x": 1}}, "response_format"),
    ({"stream_options": {}}, "stream_options"),
    ({"stream_options": {}, "stream": False}, "stream_options"),
    ({"stream_options": {"include_usage": 1}, "stream": True}, "stream_options"),
    ({"tools": [{"type": "retrieval"}]}, "tools.0.type"),
    ({"tools": [{"type": "function", "function": {"name": 1}}]}, "tools.0.function.name"),
    (
        {"tools": [{"type": "function", "function": {"parameters": "{}"}}]},
        "tools.0.function.parameters",
    ),
    ({"tools": [TOOL], "tool_choice": "any"}, "tool_choice"),
    ({"function_call": "required"}, "function_call"),
    ({"function_call": {"name": 1}}, "function_call"),
    ({"functions": {}}, "functions"),
]


@pytest.mark.parametrize(("fields", "param"), WRONG, ids=[str(fields)[:50] for fields, _ in WRONG])
def test_wrong_types_name_the_field(fields, param):
    error = refused(fields)
    assert error.param == param
    assert len(error.message) < 400


def test_unknown_and_later_fields():
    assert (refused({"foo": {}}).param, refused({"foo": 1}).code) == ("foo", "unknown_parameter")
    assert refused({"verbosity": "low"}).code == "unsupported_parameter"
    assert refused({"messages": [USER | {"mood": 1}]}).param == "messages.0.mood"
    assert refused({"messages": [USER | {"audio": {}}]}).code == "unsupported_parameter"
    assert refused({"tools": [TOOL | {"x": 1}]}).param == "tools.0.x"
    assert refused({"\ud800": 1}).param == "\\ud800"


def test_unknown_fields_can_be_allowed():
    fields = {"foo": 1, "store": True, "messages": [USER | {"mood": 1}]}
    assert request_from_json(body(**fields), allow_unknown=True) == request_from_json(body())
    assert refused({"n": 1.0}, allow_unknown=True).param == "n"


def test_schemas_are_data():
    schema = {"unknown": None, "properties": {}}
    tool = {"type": "function", "function": {"name": "f", "parameters": schema}}
    request = request_from_json(body(tools=[tool])).request
    assert json.loads(request.tools[0].function.parameters) == schema
    deep: dict = {}
    for _ in range(70):
        deep = {"a": deep}
    assert refused({"tools": [{"function": {"parameters": deep}}]}).param == "tools.0.function.parameters"


def test_kwargs_take_protocol_messages():
    answer = v1.AssistantMessage(role=v1.ROLE_ASSISTANT)
    answer.tool_calls.add(id="c", type=v1.TOOL_TYPE_FUNCTION).function.name = "f"
    mine = v1.ChatMessage(role=v1.ROLE_TOOL, tool_call_id="c", text="r")
    request = request_from_kwargs(model="m", messages=(USER, answer, mine)).request
    assert request.messages[1].tool_calls[0].id == "c"
    assert request.messages[2] == mine
    with pytest.raises(ChatError):
        request_from_kwargs(model="m", messages=[v1.Usage()])


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)
KEYS = [
    "role",
    "content",
    "type",
    "text",
    "name",
    "id",
    "function",
    "tool_calls",
    "arguments",
    "tool_call_id",
]
SHAPED = st.recursive(
    JSON | st.sampled_from(["user", "assistant", "tool", "function", "text", "auto", "required", {}]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(st.sampled_from([*REQUEST, "stream", "x"]), SHAPED, max_size=4), st.booleans())
def test_random_json_raises_nothing_but_chat_errors(fields, allow_unknown):
    try:
        request = request_from_json(body() | fields, allow_unknown=allow_unknown).request
        validate(request, vocab_size=10, model_ids=["m"])
    except ChatError as error:
        json.dumps([error.message, error.param], ensure_ascii=False).encode()
        assert error.http_status in (400, 404)
        assert len(error.message) < 1000
