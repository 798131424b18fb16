"""What only protobuf can say: unknown fields and enum numbers, NaN, negative ids, and RPCs with details."""

from __future__ import annotations

import math

import grpc
import pytest
from google.protobuf.message import Message

from jaxchat import v1
from tests.contract.covering import REFUSALS
from tests.contract.doors import refusal_of
from tests.contract.place import MAX_BODY, Place

USER = v1.ChatMessage(role=v1.ROLE_USER, text="hi")
FUNCTION = v1.FunctionDefinition(name="f")
TOOL = v1.Tool(type=v1.TOOL_TYPE_FUNCTION, function=FUNCTION)


def chat_request(**fields) -> v1.ChatCompletionRequest:
    return v1.ChatCompletionRequest(**{"model": "echo", "messages": [USER], **fields})


def with_unknown_field(message: Message) -> Message:
    """`message` as a newer client would send it: with field 999."""
    newer = type(message)()
    newer.MergeFromString(message.SerializeToString() + b"\xba\x3e\x01x")
    return newer


BAD = ("", "{", "[]", '{"a":NaN}')
CASES = [
    *[
        (chat_request(**{name: value}), name, None)
        for name in ("temperature", "top_p", "frequency_penalty", "presence_penalty", "min_p", "repetition_penalty")
        for value in (math.nan, math.inf, -math.inf)
    ],
    *[(chat_request(logit_bias={1: value}), "logit_bias", None) for value in (math.nan, math.inf, 101, -100.5)],
    *[(chat_request(logit_bias={token: 1}), "logit_bias", None) for token in (-1, 5000, 2**31 - 1)],
    (chat_request(messages=[v1.ChatMessage(role=99, text="x")]), "messages.0.role", None),
    (chat_request(messages=[v1.ChatMessage(text="x")]), "messages.0.role", None),
    (chat_request(messages=[]), "messages", None),
    (v1.ChatCompletionRequest(messages=[USER]), "model", None),
    (chat_request(messages=[v1.ChatMessage(role=v1.ROLE_USER, parts=v1.ContentParts())]), "messages.0.content", None),
    (chat_request(tools=[v1.Tool(type=7, function=FUNCTION)]), "tools.0.type", None),
    (chat_request(tools=[v1.Tool(type=v1.TOOL_TYPE_FUNCTION)]), "tools.0.function.name", None),
    *[
        (chat_request(tools=[v1.Tool(type=1, function=v1.FunctionDefinition(name="f", parameters=text))]), path, None)
        for path in ("tools.0.function.parameters",)
        for text in ("", "{", "[]", "null", '{"a":NaN}', "[" * 5000, '{"type":"string"}')
    ],
    (chat_request(tools=[TOOL], tool_choice=v1.ToolChoice()), "tool_choice", None),
    (chat_request(tools=[TOOL], tool_choice=v1.ToolChoice(mode=0)), "tool_choice", None),
    (chat_request(tools=[TOOL], tool_choice=v1.ToolChoice(mode=9)), "tool_choice.mode", None),
    (chat_request(function_call=v1.FunctionCallChoice()), "function_call", None),
    (chat_request(function_call=v1.FunctionCallChoice(mode=v1.TOOL_CHOICE_MODE_REQUIRED)), "function_call", None),
    (chat_request(response_format=v1.ResponseFormat()), "response_format", None),
    (chat_request(response_format=v1.ResponseFormat(type=5)), "response_format.type", None),
    (chat_request(stop=[""]), "stop", None),
    (chat_request(prediction=v1.Prediction(text="a")), "prediction.type", None),
    (chat_request(prediction=v1.Prediction(type=7, text="a")), "prediction.type", None),
    (chat_request(prediction=v1.Prediction(type=1, parts=v1.ContentParts())), "prediction.content", None),
    (chat_request(structured_outputs=v1.StructuredOutputs()), "structured_outputs", None),
    (chat_request(n=1, draft_tokens=[v1.DraftTokens(), v1.DraftTokens()]), "draft_tokens", None),
    *[
        (chat_request(draft_tokens=[v1.DraftTokens(token_ids=ids)]), "draft_tokens.0.token_ids", None)
        for ids in ([1, -1], [10**6], [1] * 10_000)
    ],
    *[
        (chat_request(structured_outputs=v1.StructuredOutputs(json=text)), "structured_outputs.json", None)
        for text in BAD
    ],
    *[(chat_request(chat_template_kwargs=text), "chat_template_kwargs", None) for text in BAD],
    (chat_request(reasoning_effort=v1.REASONING_EFFORT_UNSPECIFIED), "reasoning_effort", None),
    (chat_request(reasoning_effort=99), "reasoning_effort", None),
    (with_unknown_field(chat_request()), "field_999", "unknown_parameter"),
    (chat_request(messages=[with_unknown_field(USER)]), "messages.0.field_999", "unknown_parameter"),
    (chat_request(tools=[TOOL, with_unknown_field(TOOL)]), "tools.1.field_999", "unknown_parameter"),
]
REFUSALS.setdefault("FunctionCallChoice.mode", []).append("protobuf")


@pytest.mark.parametrize("stream", [False, True])
def test_what_protobuf_alone_can_say_wrong(echo_place: Place, stream: bool) -> None:
    call = echo_place.stub.Stream if stream else echo_place.stub.Complete
    for bad, param, code in CASES:
        with pytest.raises(grpc.RpcError) as caught:
            list(call(bad))
        refusal = refusal_of(caught.value)
        found = (refusal.status, refusal.param, refusal.code, refusal.type)
        assert found == (400, param, code, "invalid_request_error"), (bad, refusal)


def test_stream_options_are_for_streams(echo_place: Place) -> None:
    asked = chat_request(stream_options=v1.StreamOptions(include_usage=False))
    with pytest.raises(grpc.RpcError) as caught:
        echo_place.stub.Complete(asked)
    assert refusal_of(caught.value).param == "stream_options"
    assert not any(chunk.HasField("usage") for chunk in echo_place.stub.Stream(asked))
    asked.stream_options.include_usage = True
    *others, last = echo_place.stub.Stream(asked)
    assert last.HasField("usage") and not last.choices
    assert not any(chunk.HasField("usage") for chunk in others)


def test_zero_and_false_are_values_not_absence(echo_place: Place) -> None:
    with pytest.raises(grpc.RpcError, match="max_tokens"):
        echo_place.stub.Complete(chat_request(max_tokens=0))
    with pytest.raises(grpc.RpcError, match="'n': must be"):
        echo_place.stub.Complete(chat_request(n=0))
    assert echo_place.stub.Complete(chat_request(seed=0, temperature=0, logprobs=False)).seed_used == 0


@pytest.mark.parametrize("given", ["mine-1", "not usable", None])
def test_calls_are_named(echo_place: Place, given: str | None) -> None:
    metadata = (("x-request-id", given),) if given else ()
    answer, call = echo_place.stub.Complete.with_call(chat_request(), metadata=metadata)
    returned = dict(call.initial_metadata())["x-request-id"]
    assert answer.id and (returned == given if given == "mine-1" else returned.startswith("req_"))


def test_messages_beyond_the_limit_are_refused(echo_place: Place) -> None:
    for call in (echo_place.stub.Complete, echo_place.stub.Stream):
        with pytest.raises(grpc.RpcError) as caught:
            list(call(chat_request(user="x" * MAX_BODY)))
        assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


def test_bytes_that_are_no_message_are_an_invalid_argument(echo_place: Place) -> None:
    with grpc.insecure_channel(echo_place.grpc) as channel:
        call = channel.unary_unary("/jaxchat.v1.ChatService/Complete")
        for data in (b"\xff" * 9, b"\x0a\x05ab", b"\x0a\x01\xff"):
            with pytest.raises(grpc.RpcError) as caught:
                call(data)
            assert refusal_of(caught.value).status == 400


def test_unknown_methods_are_unimplemented(echo_place: Place) -> None:
    with grpc.insecure_channel(echo_place.grpc) as channel, pytest.raises(grpc.RpcError) as unknown:
        channel.unary_unary("/jaxchat.v1.ChatService/Nothing")(b"")
    assert unknown.value.code() is grpc.StatusCode.UNIMPLEMENTED


REPEATED = '{"type": "object", "properties": {"a": {"type": "string", "type": "null"}}}'


def test_a_key_given_twice_is_the_same_error_over_grpc_and_rest(echo_place: Place) -> None:
    schema = v1.JsonSchemaFormat(name="s", schema=REPEATED)
    asked = chat_request(
        response_format=v1.ResponseFormat(type=v1.RESPONSE_FORMAT_TYPE_JSON_SCHEMA, json_schema=schema)
    )
    with pytest.raises(grpc.RpcError) as caught:
        echo_place.stub.Complete(asked)
    body = (
        '{"model": "echo", "messages": [{"role": "user", "content": "hi"}], "response_format": '
        f'{{"type": "json_schema", "json_schema": {{"name": "s", "schema": {REPEATED}}}}}}}'
    )
    reply = echo_place.http.post("/v1/chat/completions", content=body, headers={"content-type": "application/json"})
    refusal, error = refusal_of(caught.value), reply.json()["error"]
    assert (refusal.status, refusal.param, refusal.message) == (reply.status_code, error["param"], error["message"])
    assert refusal.param == "response_format.json_schema.schema.properties.a.type"
