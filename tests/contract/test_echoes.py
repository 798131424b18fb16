"""Messages as clients send them back: those of their own helpers are accepted, and only what they say is read."""

from __future__ import annotations

from typing import Any, Literal

import openai
import pydantic
import pytest

from tests.contract.covering import covers
from tests.contract.doors import Door
from tests.contract.echo import EchoRunner
from tests.contract.place import Place
from tests.contract.test_messages import USER, prompt_for, render_turns, tool_call


class Pet(pydantic.BaseModel):
    """A pet."""

    kind: Literal["cat", "dog"]


ECHOES: dict[str, Any] = {
    "refusal": None,
    "annotations": [],
    "audio": None,
    "parsed": {"kind": "cat"},
    "id": "msg_1",
    "function_call": None,
    "tool_calls": [],
    "metadata": None,
    "options": None,
}
"""What libraries put into an assistant's message besides its role and content."""


@covers("ChatMessage.refusal", "ContentPart.refusal", "ContentPart.type", "ChatMessage.parts")
def test_a_refusal_is_what_the_assistant_said(echo: Door, runner: EchoRunner) -> None:
    text, refusal = {"type": "text", "text": "N"}, {"type": "refusal", "refusal": "o."}
    for message in (
        {"content": "No."},
        {"content": None, "refusal": "No."},
        {"refusal": "No."},
        {"content": [text, refusal]},
        {"content": [{"type": "text", "text": "No."}], "refusal": ""},
        {"content": "", "refusal": "No."},
        {"content": "No.", "refusal": "No."},
        {"content": [refusal | {"refusal": "No."}], "refusal": "No."},
    ):
        found = prompt_for(echo, runner, USER, {"role": "assistant", **message}, USER)
        assert found == render_turns(("user", "hi"), ("assistant", "No."), ("user", "hi"))


def test_an_answer_that_ended_before_its_call_is_history_too(echo: Door, runner: EchoRunner) -> None:
    for message in ({"content": None}, {}, {"content": [], "tool_calls": []}):
        found = prompt_for(echo, runner, USER, {"role": "assistant", **message}, USER)
        assert found == render_turns(("user", "hi"), ("assistant", ""), ("user", "hi"))


@covers("ChatMessage.reasoning_content")
def test_thoughts_of_earlier_answers_reach_the_template(echo: Door, runner: EchoRunner) -> None:
    def history(thoughts: str | None) -> tuple[dict, ...]:
        return USER, {"role": "assistant", "content": "yes", "reasoning_content": thoughts}, USER

    for thoughts, shown in (("hm", "{hm} yes"), (None, "yes")):
        turns = render_turns(("user", "hi"), ("assistant", shown), ("user", "hi"))
        assert prompt_for(echo, runner, *history(thoughts)) == turns
    plain, spelled = (echo.ask(messages=list(history(text))).usage for text in ("x", "<|im_end|>"))
    assert spelled[0] == plain[0] + len("<|im_end|>") - 1  # a token for each letter, and no control token


def test_what_repeats_a_message_is_dropped(echo: Door, runner: EchoRunner) -> None:
    plain = {"role": "assistant", "content": "yes"}
    assert prompt_for(echo, runner, USER, plain | ECHOES, USER) == prompt_for(echo, runner, USER, plain, USER)
    made, result = tool_call("c1"), {"role": "tool", "tool_call_id": "c1", "content": "2", "id": None}
    echoed = made | {"index": 0, "function": made["function"] | {"parsed_arguments": {"x": 1}, "extra": None}}
    calls = [{"role": "assistant", "content": None, "tool_calls": [each]} for each in (made, echoed)]
    assert prompt_for(echo, runner, USER, calls[1], result) == prompt_for(echo, runner, USER, calls[0], result)


NULLS: list[dict[str, Any]] = [
    {"mood": None},
    {"messages": [USER | {"metadata": None, "content": [{"type": "text", "text": "hi", "cache_control": None}]}]},
    {"tools": [{"type": "function", "x": None, "function": {"name": "f", "y": None}}], "tool_choice": "none"},
    {"response_format": {"type": "text", "json_schema": None, "x": None}},
]


@pytest.mark.parametrize("fields", NULLS, ids=[next(iter(fields)) for fields in NULLS])
def test_an_unknown_key_that_is_null_is_absent(echo: Door, runner: EchoRunner, fields: dict) -> None:
    echo.ask(messages=[USER], **{"tools": fields["tools"], "tool_choice": "none"} if "tools" in fields else {})
    plain = runner.prompts[-1]
    echo.ask(**{"messages": [USER]} | fields)
    assert runner.prompts[-1] == plain


@pytest.mark.filterwarnings("ignore:Pydantic serializer warnings")  # of the openai package's own class
def test_the_loop_of_parsed_answers(tiny_place: Place) -> None:
    messages: list[Any] = [{"role": "user", "content": "A pet?"}]
    for _ in range(2):
        answer = tiny_place.openai.chat.completions.parse(
            model=tiny_place.model, messages=messages, response_format=Pet, seed=1
        )
        messages += [answer.choices[0].message, {"role": "user", "content": "Another?"}]
        with tiny_place.openai.chat.completions.stream(
            model=tiny_place.model, messages=messages, response_format=Pet, seed=1
        ) as stream:
            messages += [stream.get_final_completion().choices[0].message, {"role": "user", "content": "Another?"}]
    assert [message.parsed.kind in ("cat", "dog") for message in messages[1::2]] == [True] * 4
    for client in (tiny_place.client, tiny_place.in_process):
        assert client.chat.completions.parse(model=tiny_place.model, messages=messages, response_format=Pet)


def test_the_loop_of_parsed_calls(tiny_place: Place) -> None:
    messages: list[Any] = [{"role": "user", "content": "A pet?"}]
    options: Any = {"tools": [openai.pydantic_function_tool(Pet)], "parallel_tool_calls": False, "seed": 1}
    for streamed in (False, True):
        fields = {"model": tiny_place.model, "messages": messages, "tool_choice": "required", **options}
        if streamed:
            with tiny_place.openai.chat.completions.stream(**fields) as stream:
                answer = stream.get_final_completion()
        else:
            answer = tiny_place.openai.chat.completions.parse(**fields)
        (made,) = answer.choices[0].message.tool_calls or ()
        assert isinstance(made.function.parsed_arguments, Pet) and answer.choices[0].message.content is None
        messages += [answer.choices[0].message, {"role": "tool", "tool_call_id": made.id, "content": "ok"}]
    for client in (tiny_place.client, tiny_place.in_process):
        again = client.chat.completions.create(model=tiny_place.model, messages=messages, max_tokens=1)
        messages.append(again.choices[0].message.model_dump())
    accumulated = {"role": "assistant", "content": None, "tool_calls": [_accumulated(tiny_place, options)]}
    result = {"role": "tool", "tool_call_id": accumulated["tool_calls"][0]["id"], "content": "ok"}
    assert tiny_place.openai.chat.completions.create(
        model=tiny_place.model, messages=[*messages, accumulated, result], max_tokens=1
    )


def _accumulated(place: Place, options: Any) -> dict[str, Any]:
    """The call that a client puts together from the deltas of a forced call, with their `index`."""
    body = {"model": place.model, "messages": [USER], "tool_choice": "required", "stream": True, **options}
    chunks = list(place.openai.chat.completions.create(**body))
    assert chunks[0].choices[0].delta.model_dump(exclude_unset=True)["content"] is None
    assert all(chunk.choices[0].delta.content is None for chunk in chunks)
    parts = [part for chunk in chunks for part in chunk.choices[0].delta.tool_calls or ()]
    made = parts[0].model_dump()
    made["function"]["arguments"] = "".join(part.function.arguments for part in parts)
    return made
