"""What an answer consists of: its identity, its counts, why it ended, and the exact keys of the JSON form."""

from __future__ import annotations

import time

import pytest

from tests.contract.covering import covers
from tests.contract.doors import NAMES, Door
from tests.contract.echo import CONTEXT, encode_text
from tests.contract.loading import message_fields
from tests.contract.place import Place

PROMPT = len(encode_text("<|im_start|>user\n<|im_end|>\n<|im_start|>assistant\n"))  # tokens around a message


@covers(
    *("ChatCompletionRequest.model", "ChatCompletionRequest.messages", "ChatMessage.role", "ChatMessage.text"),
    *("ChatCompletion.id", "ChatCompletion.created", "ChatCompletion.model", "ChatCompletion.choices"),
    *("Choice.message", "Choice.finish_reason", "AssistantMessage.role", "AssistantMessage.content"),
    *("ChatCompletion.usage", "Usage.prompt_tokens", "Usage.completion_tokens", "Usage.total_tokens"),
    *("ChatCompletionChunk.id", "ChatCompletionChunk.created", "ChatCompletionChunk.model"),
    *("ChatCompletionChunk.choices", "ChatCompletionChunk.usage", "ChunkChoice.delta", "ChunkChoice.finish_reason"),
    *("Delta.role", "Delta.content", "ChatCompletionRequest.stream_options", "StreamOptions.include_usage"),
)
def test_every_door_says_the_same(echo_place: Place) -> None:
    answers = [echo_place.door(name).ask(**message_fields("héllo")) for name in NAMES]
    prompt = PROMPT + len(encode_text("héllo"))
    completion = len(encode_text("héllo")) + 1  # and the end of the turn
    for answer in answers:
        assert (answer.text, answer.finish) == ("héllo", "stop")
        assert answer.usage == (prompt, completion, prompt + completion)
        id_, created, model, _ = answer.identity
        assert id_.startswith("chatcmpl-") and len(id_) >= 33 and model == "echo"
        assert abs(created - time.time()) < 60
    assert len({answer.identity[0] for answer in answers}) == len(NAMES)


def test_usage_counts_the_prompt_once_and_every_choice(echo: Door) -> None:
    one, many = echo.ask(**message_fields("ab\x1fabcd")), echo.ask(**message_fields("ab\x1fabcd"), n=5)
    assert one.usage and many.usage
    assert many.usage[0] == one.usage[0] and many.usage[1] == 3 + 5 + 3 + 5 + 3
    assert [said.text for said in many.choices] == ["ab", "abcd", "ab", "abcd", "ab"]


@covers("ChatCompletionRequest.max_tokens")
@pytest.mark.parametrize(("limit", "text", "finish"), [(1, "a", "length"), (4, "abcd", "length"), (5, "abcd", "stop")])
def test_max_tokens_cuts(echo: Door, limit: int, text: str, finish: str) -> None:
    answer = echo.ask(**message_fields("abcd"), max_tokens=limit)
    assert (answer.text, answer.finish, answer.usage and answer.usage[1]) == (text, finish, limit)


@covers("ChatCompletionRequest.max_completion_tokens")
def test_max_completion_tokens_is_the_same(echo: Door) -> None:
    answer = echo.ask(**message_fields("abcd"), max_completion_tokens=2)
    assert (answer.text, answer.finish) == ("ab", "length")


def test_the_context_is_the_limit_where_none_is_given(echo: Door) -> None:
    message = "x" * (CONTEXT // 2)
    answer = echo.ask(**message_fields(message))
    assert answer.finish == "length" and answer.usage and answer.usage[2] == CONTEXT
    room = CONTEXT - answer.usage[0]
    assert answer.text == "x" * room
    assert echo.ask(**message_fields(message), max_tokens=room).usage == answer.usage
    refused = echo.refused(**message_fields(message), max_tokens=room + 1)
    assert (refused.param, refused.code) == ("messages", "context_length_exceeded")
    assert str(CONTEXT) in refused.message and str(answer.usage[0]) in refused.message
    assert echo.refused(**message_fields("x" * CONTEXT)).code == "context_length_exceeded"


@covers("ChatCompletionRequest.response_format", "ResponseFormat.type")
def test_the_text_format_is_the_default(echo: Door) -> None:
    assert echo.ask(**message_fields("{"), response_format={"type": "text"}).text == "{"


def test_null_is_absent(echo: Door) -> None:
    nulls = dict.fromkeys(("temperature", "n", "stop", "tools", "logit_bias", "max_tokens", "store", "user"))
    assert echo.ask(**message_fields("abc"), **nulls).text == "abc"


def test_the_json_has_exactly_the_keys_of_the_reference(echo_place: Place) -> None:
    body = {"model": "echo", **message_fields("ab")}
    reply = echo_place.http.post("/v1/chat/completions", json=body).json()
    assert reply.pop("id") and reply.pop("created")
    message = {"role": "assistant", "content": "ab"}
    assert reply == {
        "object": "chat.completion",
        "model": "echo",
        "system_fingerprint": "fp_0123456789",
        "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}],
        "usage": dict(prompt_tokens=PROMPT + 2, completion_tokens=3, total_tokens=PROMPT + 5),
    }
