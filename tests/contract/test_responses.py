"""The Responses API with real engines: the tokens of chat, by the openai package and its loop of items."""

from __future__ import annotations

import json
from typing import Any, Literal

import openai
import pydantic
import pytest

from tests.contract.doors import Door
from tests.contract.echo import NOT_FINITE, PAUSE, EchoRunner
from tests.contract.place import PATIENCE, Place
from tests.contract.test_messages import prompt_for, render_turns

LOGPROBS: Any = "message.output_text.logprobs"
FUNCTION: dict[str, Any] = {
    "name": "pick",
    "description": "Pick one.",
    "parameters": {
        "type": "object",
        "properties": {"x": {"enum": ["a", "b"]}},
        "required": ["x"],
        "additionalProperties": False,
    },
}
SCHEMA: dict[str, Any] = {"type": "object", "properties": {"n": {"enum": [1, 2]}}, "required": ["n"]}


class Pet(pydantic.BaseModel):
    """A pet."""

    kind: Literal["cat", "dog"]


def respond(place: Place, stream: bool, **fields: Any) -> Any:
    """The response to a request, from its last event if it is streamed."""
    body = {"model": place.model, "input": "hi", **fields}
    if not stream:
        return place.openai.responses.create(**body)
    events = list(place.openai.responses.create(stream=True, **body))
    assert [event.sequence_number for event in events] == list(range(len(events)))
    return events[-1].response


SAME: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "text": ({"instructions": "Be brief."}, {"messages": [{"role": "system", "content": "Be brief."}]}),
    "logprobs": (
        {"include": [LOGPROBS], "top_logprobs": 3, "temperature": 0.7, "top_p": 0.9},
        {"logprobs": True, "top_logprobs": 3, "temperature": 0.7, "top_p": 0.9},
    ),
    "extensions": (
        {"extra_body": {"top_k": 5, "stop": ["e"], "frequency_penalty": 1}},
        {"extra_body": {"top_k": 5, "stop": ["e"], "frequency_penalty": 1}},
    ),
    "a schema": (
        {"text": {"format": {"type": "json_schema", "name": "s", "schema": SCHEMA}}},
        {"response_format": {"type": "json_schema", "json_schema": {"name": "s", "schema": SCHEMA}}},
    ),
    "calls": (
        {"tools": [{"type": "function", **FUNCTION}], "tool_choice": "required", "parallel_tool_calls": False},
        {
            "tools": [{"type": "function", "function": FUNCTION}],
            "tool_choice": "required",
            "parallel_tool_calls": False,
        },
    ),
}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("fields", "chat_fields"), SAME.values(), ids=list(SAME))
def test_the_tokens_are_those_of_chat(tiny_place: Place, fields: dict, chat_fields: dict, stream: bool) -> None:
    extra = {"seed": 11, "return_token_ids": True}
    fields = fields | {"extra_body": extra | fields.get("extra_body", {})}
    response = respond(tiny_place, stream, max_output_tokens=30, **fields)
    messages = [*chat_fields.get("messages", ()), {"role": "user", "content": "hi"}]
    chat_fields = chat_fields | {"messages": messages, "extra_body": extra | chat_fields.get("extra_body", {})}
    answer = tiny_place.openai.chat.completions.create(model=tiny_place.model, max_completion_tokens=30, **chat_fields)
    choice: Any = answer.choices[0]
    assert response.token_ids == choice.token_ids and response.prompt_token_ids == answer.prompt_token_ids
    assert response.system_fingerprint == answer.system_fingerprint
    assert response.output_text == (choice.message.content or "")
    calls = [(item.name, item.arguments) for item in response.output if item.type == "function_call"]
    assert calls == [(call.function.name, call.function.arguments) for call in choice.message.tool_calls or ()]
    assert response.status == ("incomplete" if choice.finish_reason == "length" else "completed")
    usage = response.usage
    assert (usage.input_tokens, usage.output_tokens) == (answer.usage.prompt_tokens, answer.usage.completion_tokens)
    if choice.logprobs:
        entries = response.output[0].content[0].logprobs
        assert [(each.token, each.logprob) for each in entries] == [
            (each.token, each.logprob) for each in choice.logprobs.content
        ]


def test_a_cut_answer_is_incomplete(tiny_place: Place) -> None:
    for stream in (False, True):
        response = respond(tiny_place, stream, max_output_tokens=2, extra_body={"ignore_eos": True})
        assert (response.status, response.incomplete_details.reason) == ("incomplete", "max_output_tokens")
        assert response.output[-1].status == "incomplete"


@pytest.mark.filterwarnings("ignore:Pydantic serializer warnings")  # of the openai package's own class
def test_parsed_answers_can_be_sent_back(tiny_place: Place) -> None:
    client, items = tiny_place.openai.responses, [{"role": "user", "content": "A pet?"}]
    for _ in range(2):
        fields: Any = {"model": tiny_place.model, "input": items, "text_format": Pet, "extra_body": {"seed": 1}}
        parsed = client.parse(**fields)
        assert parsed.output_parsed and parsed.output_parsed.kind in ("cat", "dog")
        items += [*parsed.output, {"role": "user", "content": "Another?"}]
        with client.stream(**fields) as stream:
            items += [*stream.get_final_response().output, {"role": "user", "content": "Another?"}]


def test_parsed_calls_can_be_sent_back(tiny_place: Place) -> None:
    items: list[Any] = [{"role": "user", "content": "A pet?"}]
    tools: Any = [{"type": "function", "strict": True, **FUNCTION}]
    fields: Any = {"tools": tools, "tool_choice": "required", "parallel_tool_calls": False}  # several have no end
    for stream in (False, True):
        response = respond(tiny_place, stream, input=items, **fields)
        (call,) = response.output
        assert response.status == "completed" and json.loads(call.arguments)["x"] in ("a", "b")
        items += [call, {"type": "function_call_output", "call_id": call.call_id, "output": "ok"}]


def test_calls_in_a_namespace(tiny_place: Place) -> None:
    group: Any = {"type": "namespace", "name": "box", "tools": [{"type": "function", **FUNCTION}]}
    for stream in (False, True):
        response = respond(tiny_place, stream, tools=[group], tool_choice="required", parallel_tool_calls=False)
        (call,) = response.output
        assert (call.namespace, call.name) == ("box", "pick")
        output = {"type": "function_call_output", "call_id": call.call_id, "output": "ok"}
        items = [{"role": "user", "content": "hi"}, call, output]
        assert respond(tiny_place, stream, input=items, tools=[group], max_output_tokens=1).usage.input_tokens > 0


def test_the_prompt_is_that_of_the_chat(echo_place: Place, runner: EchoRunner) -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"x": 1}'}}
    messages = [
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": "Look.", "reasoning_content": "hm", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c1", "content": "2"},
        {"role": "user", "content": "so?"},
    ]
    items = [
        {"role": "user", "content": "hi"},
        {"type": "reasoning", "id": "rs_1", "summary": [], "content": [{"type": "reasoning_text", "text": "hm"}]},
        {"role": "assistant", "content": [{"type": "output_text", "text": "Look."}]},
        {"type": "function_call", "call_id": "c1", "name": "f", "arguments": '{"x": 1}'},
        {"type": "function_call_output", "call_id": "c1", "output": "2"},
        {"role": "user", "content": "so?"},
    ]
    expected = prompt_for(Door("openai", echo_place), runner, *messages)
    for stream in (False, True):
        assert respond(echo_place, stream, input=items).output_text == "so?"
        assert runner.prompts[-1] == expected
    respond(echo_place, False, instructions="Be brief.", input=[{"role": "developer", "content": "Now."}, *items[:1]])
    assert runner.prompts[-1] == render_turns(("system", "Be brief.\n\nNow."), ("user", "hi"))


ERRORS: list[tuple[dict[str, Any], str]] = [
    ({"input": "word " * 3000}, "input"),
    ({"max_output_tokens": 5000}, "input"),
    ({"text": {"format": {"type": "json_object"}}}, "input"),
    ({"text": {"format": {"type": "json_schema", "name": "s", "schema": {"type": "x"}}}}, "text.format.schema"),
    ({"text": {"format": {"type": "json_schema", "name": "a b", "schema": {}}}}, "text.format.name"),
    ({"tools": [{"type": "function", "name": "f", "parameters": {"contains": 1}}]}, "tools.0.parameters"),
    ({"reasoning": {"effort": "low"}}, "reasoning.effort"),
    (
        {"extra_body": {"ignore_eos": True}, "text": {"format": {"type": "json_schema", "name": "s", "schema": {}}}},
        "ignore_eos",
    ),
]


@pytest.mark.parametrize(("fields", "param"), ERRORS, ids=[param for _, param in ERRORS])
def test_errors_of_the_engine_name_the_fields_of_the_request(tiny_place: Place, fields: dict, param: str) -> None:
    for stream in (False, True):
        with pytest.raises(openai.BadRequestError) as caught:
            respond(tiny_place, stream, **fields)
        body: Any = caught.value.body
        assert caught.value.param == param
        assert "response_format" not in body["message"]


def test_a_failure_in_the_middle(echo_place: Place, runner: EchoRunner) -> None:
    events = iter(echo_place.openai.responses.create(model="echo", input=f"ab{PAUSE}{NOT_FINITE}", stream=True))
    assert next(events).type == "response.created"
    assert runner.held.wait(PATIENCE)
    runner.gate.set()
    last: Any = list(events)[-1]
    assert (last.type, last.response.status) == ("response.failed", "failed")
    with pytest.raises(openai.InternalServerError):
        respond(echo_place, False, input=f"ab{NOT_FINITE}")
