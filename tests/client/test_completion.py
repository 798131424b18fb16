"""Answers as typed objects: words for enums, the JSON of the REST API, and how they look."""

from __future__ import annotations

import dataclasses
import pickle

import pytest

from jaxchat import v1
from jaxchat.client import ChatCompletion, ChatCompletionChunk, Model
from jaxchat.openai_json import chunk_to_json, completion_to_json, model_to_json

CALL = v1.ToolCall(id="call_1", type=v1.TOOL_TYPE_FUNCTION, function=v1.FunctionCall(name="f", arguments='{"x":1}'))
ENTRY = v1.TokenLogprob(
    token="é", logprob=-1, bytes="é".encode(), token_id=7, top_logprobs=[v1.TopLogprob(token="", logprob=-2)]
)
WORDS = {
    v1.FINISH_REASON_STOP: "stop",
    v1.FINISH_REASON_LENGTH: "length",
    v1.FINISH_REASON_TOOL_CALLS: "tool_calls",
    v1.FINISH_REASON_CONTENT_FILTER: "content_filter",
    v1.FINISH_REASON_FUNCTION_CALL: "function_call",
}


def message(**fields) -> v1.AssistantMessage:
    return v1.AssistantMessage(role=v1.ROLE_ASSISTANT, **fields)


def completion(*choices: v1.Choice, **fields) -> v1.ChatCompletion:
    usage = v1.Usage(prompt_tokens=2, completion_tokens=3, total_tokens=5)
    return v1.ChatCompletion(id="chatcmpl-1", created=9, model="m", choices=choices, usage=usage, **fields)


COMPLETIONS = [
    completion(v1.Choice(message=message(content="hi"), finish_reason=1), seed_used=0, system_fingerprint="fp_1"),
    completion(
        v1.Choice(message=message(content="é"), logprobs=v1.ChoiceLogprobs(content=[ENTRY]), finish_reason=2),
        v1.Choice(index=1, message=message(content=""), finish_reason=1),
    ),
    completion(v1.Choice(message=message(tool_calls=[CALL]), logprobs=v1.ChoiceLogprobs(), finish_reason=3)),
    completion(v1.Choice(message=message(content="a", function_call=CALL.function), finish_reason=5)),
]
CHUNKS = [
    v1.ChunkChoice(delta=v1.Delta(role=v1.ROLE_ASSISTANT, content="")),
    v1.ChunkChoice(delta=v1.Delta(content="é"), logprobs=v1.ChoiceLogprobs(content=[ENTRY])),
    v1.ChunkChoice(delta=v1.Delta(tool_calls=[v1.ToolCallDelta(id="call_1", type=1, function={"name": "f"})])),
    v1.ChunkChoice(delta=v1.Delta(tool_calls=[v1.ToolCallDelta(index=1, function={"arguments": "{"})])),
    v1.ChunkChoice(delta=v1.Delta(function_call=v1.FunctionCall(name="f", arguments=""))),
    v1.ChunkChoice(delta=v1.Delta(), finish_reason=v1.FINISH_REASON_STOP),
]


@pytest.mark.parametrize("proto", COMPLETIONS)
def test_a_completion_dumps_the_json_of_the_rest_api(proto):
    answer = ChatCompletion.from_proto(proto)
    expected = completion_to_json(proto)
    assert answer.model_dump() == expected and answer.proto is proto
    for choice, inner in zip(answer.choices, expected["choices"], strict=True):
        assert choice.model_dump() == inner and choice.message.model_dump() == inner["message"]
        assert (choice.logprobs and choice.logprobs.model_dump()) == inner["logprobs"]
        calls = [call.model_dump() for call in choice.message.tool_calls or ()]
        assert calls == inner["message"].get("tool_calls", [])
    assert answer.usage.model_dump() == expected["usage"]


@pytest.mark.parametrize("include_usage", [False, True])
@pytest.mark.parametrize("choice", CHUNKS)
def test_a_chunk_dumps_the_json_of_an_event(choice, include_usage):
    proto = v1.ChatCompletionChunk(id="chatcmpl-1", created=9, model="m", choices=[choice], seed_used=4)
    chunk = ChatCompletionChunk.from_proto(proto, include_usage=include_usage)
    expected = chunk_to_json(proto, include_usage)
    assert chunk.model_dump() == expected and chunk.seed_used == 4
    assert chunk.choices[0].model_dump() == expected["choices"][0]
    assert chunk.choices[0].delta.model_dump() == expected["choices"][0]["delta"]


def test_absent_fields_are_none_and_enums_are_words():
    for number, word in WORDS.items():
        answer = ChatCompletion.from_proto(completion(v1.Choice(message=message(), finish_reason=number)))
        assert answer.choices[0].finish_reason == word
    said = answer.choices[0].message
    assert (said.role, said.content, said.tool_calls, said.function_call) == ("assistant", None, None, None)
    assert (answer.choices[0].logprobs, answer.seed_used) == (None, None)
    delta = ChatCompletionChunk.from_proto(v1.ChatCompletionChunk(choices=[v1.ChunkChoice()])).choices[0].delta
    assert (delta.role, delta.content, delta.tool_calls, delta.function_call) == (None, None, None, None)


def test_calls_and_entries_have_their_values():
    (call,) = ChatCompletion.from_proto(COMPLETIONS[2]).choices[0].message.tool_calls
    assert (call.id, call.type, call.function.name, call.function.arguments) == ("call_1", "function", "f", '{"x":1}')
    (entry,) = ChatCompletion.from_proto(COMPLETIONS[1]).choices[0].logprobs.content
    assert (entry.token, entry.logprob, entry.bytes, entry.token_id) == ("é", -1, "é".encode(), 7)
    assert [(top.token, top.logprob, top.bytes) for top in entry.top_logprobs] == [("", -2, None)]


def test_token_ids_are_none_where_they_were_not_asked_for():
    ids = completion(v1.Choice(message=message(content="hi"), finish_reason=1, token_ids=[0, 9]), prompt_token_ids=[4])
    answer, without = ChatCompletion.from_proto(ids), ChatCompletion.from_proto(COMPLETIONS[0])
    assert (answer.prompt_token_ids, answer.choices[0].token_ids) == ((4,), (0, 9))
    assert answer.model_dump() == completion_to_json(ids)
    assert (without.prompt_token_ids, without.choices[0].token_ids) == (None, None)
    parts = v1.ChatCompletionChunk(choices=[v1.ChunkChoice(token_ids=[5])], prompt_token_ids=[4])
    chunk = ChatCompletionChunk.from_proto(parts)
    assert (chunk.prompt_token_ids, chunk.choices[0].token_ids) == ((4,), (5,))


def test_counts_of_a_prediction_are_none_without_one():
    details = v1.CompletionTokensDetails(accepted_prediction_tokens=0, rejected_prediction_tokens=4)
    usage = v1.Usage(prompt_tokens=2, completion_tokens=3, total_tokens=5, completion_tokens_details=details)
    answer = ChatCompletion.from_proto(v1.ChatCompletion(usage=usage)).usage
    assert answer.completion_tokens_details.accepted_prediction_tokens == 0
    assert answer.model_dump()["completion_tokens_details"] == answer.completion_tokens_details.model_dump()
    assert answer.completion_tokens_details.model_dump() == {
        "accepted_prediction_tokens": 0,
        "rejected_prediction_tokens": 4,
    }
    without = ChatCompletion.from_proto(COMPLETIONS[0]).usage
    assert without.completion_tokens_details is None and "completion_tokens_details" not in without.model_dump()


def test_thoughts_stand_beside_the_content():
    details = v1.CompletionTokensDetails(reasoning_tokens=0)
    proto = completion(v1.Choice(message=message(content="4", reasoning_content="2 + 2"), finish_reason=1))
    proto.usage.completion_tokens_details.CopyFrom(details)
    answer = ChatCompletion.from_proto(proto)
    assert answer.choices[0].message.reasoning_content == "2 + 2" and "reasoning_content='2 + 2'" in repr(answer)
    assert answer.choices[0].message.model_dump()["reasoning_content"] == "2 + 2"
    assert answer.usage.completion_tokens_details.reasoning_tokens == 0
    assert answer.model_dump() == completion_to_json(proto)
    delta = v1.Delta(reasoning_content="2")
    (choice,) = ChatCompletionChunk.from_proto(v1.ChatCompletionChunk(choices=[v1.ChunkChoice(delta=delta)])).choices
    assert choice.delta.reasoning_content == "2" and choice.delta.model_dump() == {"reasoning_content": "2"}
    assert "reasoning_content" not in ChatCompletion.from_proto(COMPLETIONS[0]).choices[0].message.model_dump()


def test_answers_are_values():
    answer, same = (ChatCompletion.from_proto(COMPLETIONS[1]) for _ in range(2))
    other = ChatCompletion.from_proto(COMPLETIONS[0])
    assert answer == same != other and len({answer, same, other}) == 2
    assert pickle.loads(pickle.dumps(answer)) == answer
    with pytest.raises(dataclasses.FrozenInstanceError):
        answer.id = "x"


def test_a_model_dumps_its_json():
    proto = v1.Model(id="m", created=3, owned_by="jaxchat")
    assert Model.from_proto(proto).model_dump() == model_to_json(proto)


def test_the_repr_is_one_short_line():
    assert repr(ChatCompletion.from_proto(COMPLETIONS[0])) == (
        "ChatCompletion('hi', finish_reason='stop', tokens=2+3, seed_used=0)"
    )
    text = "word\n" * 999
    long = completion(*[v1.Choice(index=i, message=message(content=text, tool_calls=[CALL])) for i in range(9)])
    for value in (answer := ChatCompletion.from_proto(long), answer.choices[0], answer.choices[0].message):
        assert "word" in repr(value) and "\n" not in repr(value) and len(repr(value)) < 300
    assert "choices=9" in repr(answer) and "tool_calls=[f]" in repr(answer)


def test_a_notebook_shows_the_content_and_the_calls():
    assert ChatCompletion.from_proto(COMPLETIONS[0])._repr_markdown_().startswith("hi\n\n*m · stop · 2 + 3 tokens")
    assert 'f({"x":1})' in ChatCompletion.from_proto(COMPLETIONS[2])._repr_markdown_()
    assert "**Choice 1**" in ChatCompletion.from_proto(COMPLETIONS[1])._repr_markdown_()
