"""Thoughts, text and calls of one answer as items of the Responses API, and sent back as input."""

from __future__ import annotations

from typing import Any

import pytest

from tests.contract.echo import EchoRunner
from tests.contract.place import Place
from tests.contract.test_messages import render_turns
from tests.contract.test_reasoning import CALL, thinking_place  # noqa: F401  # a fixture
from tests.contract.test_responses import respond

TOOL: dict[str, Any] = {"type": "function", "name": "f", "parameters": {"type": "object", "properties": {}}}
TEXT = f"<think>\nSo.\n</think>\n\nLook.\n{CALL}"
Thinking = tuple[Place, EchoRunner]


@pytest.mark.parametrize("stream", [False, True])
def test_items_come_in_order(thinking_place: Thinking, stream: bool) -> None:  # noqa: F811
    place, _ = thinking_place
    response = respond(place, stream, input=TEXT, tools=[TOOL])
    assert [item.type for item in response.output] == ["reasoning", "message", "function_call"]
    reasoning, message, call = response.output
    assert ([part.text for part in reasoning.content], reasoning.encrypted_content) == (["So."], None)
    assert (message.content[0].text.strip(), call.name, call.arguments) == ("Look.", "f", "{}")
    assert response.usage.output_tokens_details.reasoning_tokens == 5
    assert len({item.id for item in response.output}) == 3


@pytest.mark.parametrize("stream", [False, True])
def test_items_can_be_sent_back_with_encrypted_thoughts(thinking_place: Thinking, stream: bool) -> None:  # noqa: F811
    place, runner = thinking_place
    user = {"role": "user", "content": "hi"}
    text = "<think>\nSo.\n</think>\n\nYes."
    response = respond(place, stream, input=text, include=["reasoning.encrypted_content"])
    reasoning, message = response.output
    bare = {"type": "reasoning", "summary": [], "encrypted_content": reasoning.encrypted_content}
    for item in (reasoning, bare):
        answer = respond(place, stream, input=[user, item, message, {"role": "user", "content": "So?"}])
        assert answer.output_text == "So?"
        turns = render_turns(("user", "hi"), ("assistant", "{So.} Yes."), ("user", "So?"))
        assert runner.prompts[-1] == turns


@pytest.mark.parametrize("stream", [False, True])
def test_an_answer_cut_within_its_thoughts(thinking_place: Thinking, stream: bool) -> None:  # noqa: F811
    place, _ = thinking_place
    response = respond(place, stream, input="<think>\nSo.\n</think>\n\nYes.", max_output_tokens=4)
    (item,) = response.output
    assert (item.type, item.status, response.status) == ("reasoning", "incomplete", "incomplete")
    assert response.output_text == ""
    again = [{"role": "user", "content": "hi"}, item, {"role": "user", "content": "hi"}]
    assert respond(place, stream, input=again).output_text == "hi"


def test_more_than_one_call(thinking_place: Thinking) -> None:  # noqa: F811
    place, _ = thinking_place
    text = f"{CALL}\n{CALL}"
    plain, streamed = (respond(place, stream, input=text, tools=[TOOL]) for stream in (False, True))
    for response in (plain, streamed):
        assert [item.type for item in response.output] == ["function_call", "function_call"]
        assert len({item.call_id for item in response.output}) == 2
