"""The events of streamed responses: names, order, numbers, and the same end as an answer that is not streamed."""

from __future__ import annotations

from typing import Any

import pytest
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import TypeAdapter

from jaxchat import v1
from jaxchat.errors import numerical_error, queue_full
from jaxchat.openai_responses import ResponseEvents, ResponsesRequest, completion_to_response
from tests.openai_responses.test_request import FUNCTION, LOGPROBS, read

EVENT: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)
SHARED: dict[str, Any] = {"id": "chatcmpl-x1", "created": 5, "model": "m", "system_fingerprint": "fp_0123456789"}
USAGE = v1.Usage(
    prompt_tokens=3,
    completion_tokens=4,
    total_tokens=7,
    prompt_tokens_details=v1.PromptTokensDetails(cached_tokens=2),
    completion_tokens_details=v1.CompletionTokensDetails(reasoning_tokens=1),
)
STOP, LENGTH, CALLS = v1.FINISH_REASON_STOP, v1.FINISH_REASON_LENGTH, v1.FINISH_REASON_TOOL_CALLS


def chunk(finish: v1.FinishReason = v1.FINISH_REASON_UNSPECIFIED, **delta: Any) -> v1.ChatCompletionChunk:
    return v1.ChatCompletionChunk(**SHARED, choices=[v1.ChunkChoice(delta=v1.Delta(**delta), finish_reason=finish)])


def call(index: int, arguments: str = "", call_id: str | None = None, name: str | None = None) -> Any:
    return v1.ToolCallDelta(index=index, id=call_id, function=v1.FunctionCall(name=name, arguments=arguments))


def answer(finish: v1.FinishReason, *calls: tuple[str, str, str], **message: str) -> v1.ChatCompletion:
    made = [
        v1.ToolCall(id=call_id, type=v1.TOOL_TYPE_FUNCTION, function=v1.FunctionCall(name=name, arguments=arguments))
        for call_id, name, arguments in calls
    ]
    choice = v1.Choice(message=v1.AssistantMessage(tool_calls=made, **message), finish_reason=finish)
    return v1.ChatCompletion(**SHARED, choices=[choice], usage=USAGE)


ROLE = chunk(role=v1.ROLE_ASSISTANT, content="")
LAST = v1.ChatCompletionChunk(**SHARED, usage=USAGE)
NAMESPACES = {"tools": [{"type": "namespace", "name": "n", "tools": [FUNCTION]}]}
MESSAGE = [
    "output_item.added",
    "content_part.added",
    "output_text.delta",
    "output_text.done",
    "content_part.done",
    "output_item.done",
]
REASONING = [kind.replace("output_text", "reasoning_text") for kind in MESSAGE]
CALL = ["output_item.added", "function_call_arguments.delta", "function_call_arguments.done", "output_item.done"]
EMPTY = [kind for kind in MESSAGE if not kind.endswith("delta")]

ANSWERS: dict[str, tuple[list[v1.ChatCompletionChunk], v1.ChatCompletion, list[str]]] = {
    "text": ([chunk(content="Hi"), chunk(STOP)], answer(STOP, content="Hi"), MESSAGE),
    "nothing": ([chunk(STOP)], answer(STOP, content=""), EMPTY),
    "cut": ([chunk(content="H"), chunk(LENGTH)], answer(LENGTH, content="H"), MESSAGE),
    "cut thoughts": ([chunk(reasoning_content="h"), chunk(LENGTH)], answer(LENGTH, reasoning_content="h"), REASONING),
    "thoughts and text": (
        [chunk(reasoning_content="hm"), chunk(content="Hi"), chunk(STOP)],
        answer(STOP, reasoning_content="hm", content="Hi"),
        REASONING + MESSAGE,
    ),
    "thoughts, text and calls": (
        [
            chunk(reasoning_content="hm"),
            chunk(content="Hi"),
            chunk(tool_calls=[call(0, call_id="call_1", name="n__f")]),
            chunk(tool_calls=[call(0, "{}")]),
            chunk(tool_calls=[call(1, call_id="call_2", name="f")]),
            chunk(tool_calls=[call(1, "{}")]),
            chunk(CALLS),
        ],
        answer(CALLS, ("call_1", "n__f", "{}"), ("call_2", "f", "{}"), reasoning_content="hm", content="Hi"),
        REASONING + MESSAGE + CALL + CALL,
    ),
    "a cut call": (
        [chunk(tool_calls=[call(0, call_id="call_1", name="f")]), chunk(tool_calls=[call(0, '{"a')]), chunk(LENGTH)],
        answer(LENGTH, ("call_1", "f", '{"a')),
        CALL,
    ),
}


def events_of(request: ResponsesRequest, chunks: list[v1.ChatCompletionChunk]) -> list[dict[str, Any]]:
    writer = ResponseEvents(request)
    return [*(event for each in chunks for event in writer.chunk(each)), *writer.end()]


@pytest.mark.parametrize(("chunks", "complete", "kinds"), ANSWERS.values(), ids=list(ANSWERS))
def test_events_of_an_answer(chunks: list, complete: v1.ChatCompletion, kinds: list[str]) -> None:
    request = read(stream=True, include=["reasoning.encrypted_content"], **NAMESPACES)
    events = events_of(request, [ROLE, *chunks, LAST])
    status = "incomplete" if complete.choices[0].finish_reason == LENGTH else "completed"
    names = [event["type"].removeprefix("response.") for event in events]
    assert names == ["created", "in_progress", *kinds, status]
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    for event in events:
        EVENT.validate_python(event, strict=True)
    whole = completion_to_response(request, complete)
    Response.model_validate(whole, strict=True)
    for response in (whole, events[-1]["response"]):
        response.pop("completed_at")
    assert events[-1]["response"] == whole
    assert whole["status"] == whole["output"][-1]["status"] == status
    assert {item["status"] for item in whole["output"][:-1]} <= {"completed"}
    ended = [event["item"] for event in events if event["type"] == "response.output_item.done"]
    assert ended == whole["output"]


def test_deltas_add_up_and_refer_to_their_item() -> None:
    chunks = [ROLE, chunk(content="H"), chunk(content="i"), chunk(STOP), LAST]
    events = events_of(read(stream=True), chunks)
    deltas = [event for event in events if event["type"] == "response.output_text.delta"]
    assert [event["delta"] for event in deltas] == ["H", "i"]
    added = next(event for event in events if event["type"] == "response.output_item.added")
    assert added["item"] == {
        "id": "msg_x10",
        "type": "message",
        "role": "assistant",
        "status": "in_progress",
        "content": [],
    }
    assert {(event["item_id"], event["output_index"], event["content_index"]) for event in deltas} == {
        ("msg_x10", 0, 0)
    }


def test_log_probabilities_come_with_their_text() -> None:
    entry = v1.TokenLogprob(token="Hi", logprob=-0.5, bytes=b"Hi")
    entry.top_logprobs.add(token="<end>", logprob=-1.0)
    text = chunk(content="Hi")
    text.choices[0].logprobs.content.append(entry)
    request = read(stream=True, include=[LOGPROBS], top_logprobs=1)
    events = events_of(request, [ROLE, text, chunk(STOP), LAST])
    shown = [
        {
            "token": "Hi",
            "bytes": [72, 105],
            "logprob": -0.5,
            "top_logprobs": [{"token": "<end>", "bytes": [], "logprob": -1.0}],
        }
    ]
    assert [event["logprobs"] for event in events if "logprobs" in event] == [shown, shown]
    assert events[-1]["response"]["output"][0]["content"][0]["logprobs"] == shown


def test_usage_and_what_the_answer_reports() -> None:
    response = completion_to_response(read(), answer(STOP, content="Hi"))
    assert set(Response.model_fields) <= set(response)
    assert response["usage"] == {
        "input_tokens": 3,
        "input_tokens_details": {"cached_tokens": 2, "cache_write_tokens": 0},
        "output_tokens": 4,
        "output_tokens_details": {"reasoning_tokens": 1},
        "total_tokens": 7,
    }
    assert (response["id"], response["created_at"], response["model"]) == ("resp_x1", 5, "m")
    assert (response["system_fingerprint"], response["error"]) == ("fp_0123456789", None)


def test_token_ids_are_those_of_all_chunks() -> None:
    first, second = chunk(content="H"), chunk(STOP)
    first.prompt_token_ids.extend([1, 2])
    first.choices[0].token_ids.append(3)
    second.choices[0].token_ids.append(4)
    response = events_of(read(stream=True), [first, second, LAST])[-1]["response"]
    assert (response["prompt_token_ids"], response["token_ids"]) == ([1, 2], [3, 4])


def test_a_failure_ends_the_events() -> None:
    writer = ResponseEvents(read(stream=True))
    before = [event for each in (ROLE, chunk(content="H")) for event in writer.chunk(each)]
    event = writer.fail(numerical_error())
    EVENT.validate_python(event, strict=True)
    assert (event["type"], event["sequence_number"]) == ("response.failed", len(before))
    assert (event["response"]["status"], event["response"]["error"]["code"]) == ("failed", "server_error")
    early = ResponseEvents(read(stream=True)).fail(queue_full(1, 1))
    EVENT.validate_python(early, strict=True)
    assert (early["type"], early["code"], early["sequence_number"]) == ("error", "rate_limit_exceeded", 0)
