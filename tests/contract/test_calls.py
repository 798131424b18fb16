"""Calls that are forced or free, on a model with random weights at full temperature: only the grammar makes it call."""

from __future__ import annotations

import json
import re
from typing import Any

import jsonschema
import openai
import pydantic
import pytest

from jaxchat.client import Client
from jaxchat.client.local import LocalTransport
from jaxchat.config import ChatConfig
from tests.contract.answers import ChoiceAnswer
from tests.contract.covering import covers
from tests.contract.doors import Door
from tests.contract.echo import LIBRARY, echo_session
from tests.contract.place import Place

PET: dict[str, Any] = {
    "type": "object",
    "properties": {"kind": {"$ref": "#/$defs/kind"}, "legs": {"type": "integer", "minimum": 0, "maximum": 8}},
    "required": ["kind", "legs"],
    "additionalProperties": False,
    "$defs": {"kind": {"enum": ["cat", "dog"]}},
}
PLACE = {"type": "object", "properties": {"city": {"type": "string", "maxLength": 4}}, "required": ["city"]}
SCHEMAS = {"pet": PET, "place": PLACE, "now": {"type": "object", "maxProperties": 0}}
TOOLS = [
    {"type": "function", "function": {"name": "pet", "parameters": PET}},
    {"type": "function", "function": {"name": "place", "parameters": PLACE}},
    {"type": "function", "function": {"name": "now"}},
]
NAMED = {"type": "function", "function": {"name": "pet"}}
OPENING = str(LIBRARY.token_to_id("<tool_call>"))
ENOUGH = 600  # tokens, each one byte


def assert_calls_declared(said: ChoiceAnswer) -> None:
    """Every call is one that was declared; only the last one of a cut answer may be incomplete."""
    assert not said.text and said.finish in ("tool_calls", "length")
    whole = said.calls if said.finish == "tool_calls" else said.calls[:-1]
    assert whole or said.finish == "length"
    for call in whole:
        jsonschema.validate(json.loads(call.arguments), SCHEMAS[call.name])
    assert all(re.fullmatch(r"call_[a-zA-Z0-9]{24}", call.id) for call in said.calls)


@covers("ChatCompletionRequest.tool_choice", "ToolChoice.mode")
def test_required_calls_at_least_once(door: Door) -> None:
    seen, finishes = set(), set()
    for seed in range(5):
        answer = door.ask(tools=TOOLS, tool_choice="required", temperature=1, seed=seed, max_tokens=ENOUGH, n=2)
        for said in answer.choices:
            assert_calls_declared(said)
            finishes.add(said.finish)
            seen |= {call.name for call in said.calls}
        identities = [call.id for said in answer.choices for call in said.calls]
        assert len(set(identities)) == len(identities)
    assert len(seen) > 1 and "tool_calls" in finishes


@covers("ToolChoice.named", "NamedToolChoice.type", "NamedToolChoice.name")
def test_a_named_function_is_called_once(door: Door) -> None:
    for temperature in (0, 1, 2):
        answer = door.ask(tools=TOOLS, tool_choice=NAMED, temperature=temperature, seed=2, max_tokens=ENOUGH, n=2)
        for said in answer.choices:
            assert_calls_declared(said)
            assert [call.name for call in said.calls] == ["pet"] and said.finish == "tool_calls"


@covers("ChatCompletionRequest.parallel_tool_calls")
def test_calls_can_be_limited_to_one(door: Door) -> None:
    for seed in range(5):
        answer = door.ask(tools=TOOLS, tool_choice="required", parallel_tool_calls=False, seed=seed, max_tokens=ENOUGH)
        assert_calls_declared(answer.choices[0])
        assert len(answer.choices[0].calls) == 1


def test_a_cut_call_keeps_its_fragment(door: Door) -> None:
    whole = door.ask(tools=TOOLS, tool_choice=NAMED, seed=1, max_tokens=ENOUGH)
    names = set()
    for limit in (1, 20, whole.usage[1] - 12, whole.usage[1] - 1):
        (said,) = door.ask(tools=TOOLS, tool_choice=NAMED, seed=1, max_tokens=limit, logprobs=True).choices
        assert said.finish == "length" and not said.text and not said.entries
        names |= {call.name for call in said.calls}
        assert all(whole.choices[0].calls[0].arguments.startswith(call.arguments) for call in said.calls)
    assert names == {"pet"}


def test_the_plain_answer_and_the_stream_have_the_same_arguments(tiny_place: Place) -> None:
    asked = {"tools": TOOLS, "tool_choice": "required", "seed": 4, "max_tokens": ENOUGH, "n": 3}
    found = [tiny_place.door(name).ask(**asked).choices for name in ("openai", "openai stream", "stub", "stub stream")]
    calls = [[[(call.name, call.arguments) for call in said.calls] for said in choices] for choices in found]
    assert calls[1:] == calls[:1] * 3 and calls[0][0]


def test_forced_calls_win_over_a_format(door: Door) -> None:
    given = {"type": "json_schema", "json_schema": {"name": "n", "schema": {"const": "text"}}}
    asked = {"tools": TOOLS, "response_format": given, "max_tokens": ENOUGH}
    assert_calls_declared(door.ask(tool_choice="required", **asked).choices[0])
    assert door.ask(tool_choice="none", **asked).text == '"text"'
    for seed in range(3):
        (said,) = door.ask(tool_choice="auto", seed=seed, **asked).choices
        assert said.text == '"text"' or said.calls


@covers("ToolChoice.mode")
def test_a_call_that_the_model_opens_follows_the_schemas(door: Door) -> None:
    eager = {OPENING: 100}
    for seed in range(3):
        (said,) = door.ask(tools=TOOLS, logit_bias=eager, seed=seed, max_tokens=ENOUGH).choices
        assert said.calls
        assert_calls_declared(said)
        (said,) = door.ask(tools=TOOLS, tool_choice="none", logit_bias=eager, seed=seed, max_tokens=60).choices
        assert said.text and "<tool_call>" not in said.text and not said.calls


def test_text_beside_tools_is_text(door: Door) -> None:
    asked = {"tools": TOOLS, "tool_choice": "auto", "logprobs": True, "max_tokens": 30}
    answers = (door.ask(seed=seed, **asked).choices[0] for seed in range(20))
    said = next(said for said in answers if not said.calls)
    assert said.text and said.entry_bytes.decode(errors="replace") == said.text


@pytest.mark.parametrize("reason", ["tool_calls", "stop"])
def test_the_reason_of_a_named_call_can_be_that_of_the_hosted_api(reason: Any) -> None:
    session, _ = echo_session(chat=ChatConfig(named_tool_finish_reason=reason))
    said = '<tool_call>\n{"name": "now", "arguments": {}}\n</tool_call>'
    asked = {"tools": TOOLS, "messages": [{"role": "user", "content": said}]}
    with Client(LocalTransport(session)) as client, Place(client) as place:
        for name in ("openai", "stub stream"):
            door = place.door(name)
            now = {"type": "function", "function": {"name": "now"}}
            assert door.ask(tool_choice=now, **asked).finish == reason
            assert door.ask(tool_choice="required", **asked).finish == "tool_calls"


class Pet(pydantic.BaseModel):
    """A pet."""

    kind: str = pydantic.Field(max_length=4)
    legs: int = pydantic.Field(ge=0, le=8)


def test_the_reference_client_parses_arguments_into_its_models(tiny_place: Place) -> None:
    client: openai.OpenAI = tiny_place.openai
    asked: Any = {
        "model": tiny_place.model,
        "messages": [{"role": "user", "content": "hi"}],
        "tools": [openai.pydantic_function_tool(Pet)],
        "tool_choice": "required",
        "parallel_tool_calls": False,
        "max_tokens": ENOUGH,
        "seed": 1,
    }
    (call,) = client.chat.completions.parse(**asked).choices[0].message.tool_calls or []
    assert isinstance(call.function.parsed_arguments, Pet)
    with client.chat.completions.stream(**asked) as stream:
        events = list(stream)
        (streamed,) = stream.get_final_completion().choices[0].message.tool_calls or []
    assert streamed.function.parsed_arguments == call.function.parsed_arguments
    pieces = [event.arguments_delta for event in events if event.type == "tool_calls.function.arguments.delta"]
    assert "".join(pieces) == call.function.arguments
    assert [event.name for event in events if event.type == "tool_calls.function.arguments.done"] == ["Pet"]
