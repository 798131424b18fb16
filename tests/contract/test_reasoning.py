"""Thoughts of a model, through every door: apart from the content, streamed, counted, and sent back as history."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from tokenizers import Tokenizer

from jaxchat.client import Client
from jaxchat.client.local import LocalTransport
from jaxchat.openai_json.response import message_to_json
from tests import tiny
from tests.contract.covering import covers
from tests.contract.doors import NAMES, Door
from tests.contract.echo import SPLIT, TEMPLATE, EchoRunner, echo_session
from tests.contract.place import Place

THINKING = TEMPLATE + "{% if enable_thinking and add_generation_prompt %}<think>\n{% endif %}{# </think> #}"
OPENED: dict[str, Any] = {"chat_template_kwargs": {"enable_thinking": True}}
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}
CALL = '<tool_call>\n{"name": "f", "arguments": {}}\n</tool_call>'


def thinking_tokenizer() -> str:
    made = Tokenizer.from_str(tiny.tokenizer_json())
    made.add_tokens(["<think>", "</think>"])
    return made.to_str()


@pytest.fixture(scope="module")
def thinking_place() -> Iterator[tuple[Place, EchoRunner]]:
    session, runner = echo_session(template=THINKING, source=thinking_tokenizer())
    with Client(LocalTransport(session)) as client, Place(client) as place:
        yield place, runner


@pytest.fixture(params=NAMES)
def thinker(request: pytest.FixtureRequest, thinking_place: tuple[Place, EchoRunner]) -> Iterator[Door]:
    """Yields each front door of an echo that thinks where the message says so."""
    yield thinking_place[0].door(request.param)
    thinking_place[0].wait_until_idle()


def say(text: str, **fields: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": text}], **fields}


@covers(
    "AssistantMessage.reasoning_content",
    "Delta.reasoning_content",
    "CompletionTokensDetails.reasoning_tokens",
)
def test_thoughts_stand_beside_the_content_and_are_counted(thinker: Door) -> None:
    answer = thinker.ask(**say("<think>\nSo.\n</think>\n\nFour.", logprobs=True))
    assert (answer.choices[0].thoughts, answer.text, answer.finish) == ("So.", "Four.", "stop")
    assert answer.choices[0].entry_bytes == b"Four." and answer.reasoning_tokens == 5
    plain = thinker.ask(**say("Four."))
    assert (plain.choices[0].thoughts, plain.text, plain.reasoning_tokens) == (None, "Four.", 0)


def test_the_prompt_may_open_thoughts_and_each_choice_has_its_own(thinker: Door) -> None:
    answer = thinker.ask(**say(f"a</think>b{SPLIT}c</think>d{SPLIT}never closed", n=3, **OPENED))
    assert [(choice.thoughts, choice.text) for choice in answer.choices] == [
        ("a", "b"),
        ("c", "d"),
        ("never closed", ""),
    ]
    assert answer.reasoning_tokens == 14


def test_max_tokens_may_end_thoughts(thinker: Door) -> None:
    answer = thinker.ask(**say("<think>So it is</think>x", max_tokens=4, stop="o"))
    assert (answer.choices[0].thoughts, answer.text, answer.finish) == ("So ", "", "length")


def test_stop_strings_end_the_content_alone(thinker: Door) -> None:
    answer = thinker.ask(**say("<think>stop</think>a stop", stop="stop"))
    assert (answer.choices[0].thoughts, answer.text, answer.finish) == ("stop", "a ", "stop")


@pytest.mark.parametrize(
    ("fields", "content"),
    [
        ({"response_format": {"type": "json_object"}}, '{"json": 1}'),
        ({"structured_outputs": {"choice": ["left", "right"]}}, "right"),
    ],
)
def test_a_rule_binds_the_content_alone(thinking_place: tuple[Place, EchoRunner], fields: dict, content: str) -> None:
    place, _ = thinking_place
    for name in ("client", "openai stream"):
        answer = place.door(name).ask(**say(f"<think>So {{.</think>{content}", **fields))
        assert (answer.choices[0].thoughts, answer.text) == ("So {.", content)
        answer = place.door(name).ask(**say(f"So {{.</think>{content}", **fields, **OPENED))
        assert (answer.choices[0].thoughts, answer.text) == ("So {.", content)
    place.wait_until_idle()


@pytest.mark.parametrize("choice", ["auto", "required"])
def test_calls_come_after_thoughts(thinker: Door, choice: str) -> None:
    answer = thinker.ask(**say(f"<think>{CALL}</think>\n\n{CALL}", tools=[TOOL], tool_choice=choice))
    assert answer.choices[0].thoughts == CALL and not answer.text and answer.finish == "tool_calls"
    assert [(call.name, call.arguments) for call in answer.choices[0].calls] == [("f", "{}")]


def test_an_answer_sent_back_brings_its_thoughts_to_the_template(thinking_place: tuple[Place, EchoRunner]) -> None:
    place, runner = thinking_place
    answer = place.client.chat.completions.create(model=place.model, **say("<think>So.</think>Four."))
    message = answer.choices[0].message
    assert message.model_dump() == {"role": "assistant", "content": "Four.", "reasoning_content": "So."}
    assert message_to_json(message.proto) == message.model_dump()
    user = {"role": "user", "content": "And?"}
    place.client.chat.completions.create(model=place.model, messages=[user, message, user])
    assert "<|im_start|>assistant\n{So.} Four.<|im_end|>" in runner.prompts[-1]
    place.wait_until_idle()
