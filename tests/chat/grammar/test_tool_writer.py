"""Calls in every syntax, with openings that are control tokens and with such that are text."""

from __future__ import annotations

import json
import random
from functools import cache
from typing import Any

import pytest
from tokenizers import Tokenizer

from jaxchat import v1
from jaxchat.chat.grammar import GrammarCompiler
from jaxchat.chat.prompt.tokenizer import ChatTokenizer
from jaxchat.chat.response.choice import ChoiceBuilder, ChoiceOptions
from jaxchat.chat.tools.format import TOOL_FORMATS
from jaxchat.chat.tools.json_format import JsonToolFormat
from jaxchat.types import TokenEvent
from tests.chat.grammar.test_tool_calls import TOOLS, tool_request
from tests.chat.grammar.walking import allowed, constraint_of, empty_row
from tests.tiny import tokenizer_json

NAMES = ("hermes", "llama3", "mistral", "mistral-nemo")  # tests/chat/tools/test_every_format.py tries the others too
OBJECTS = {name: value for name, value in TOOL_FORMATS.items() if isinstance(value, JsonToolFormat) and name in NAMES}
MARKERS = {marker for _, tool_format in TOOL_FORMATS.items() for marker in tool_format.markers}
PING = '{"name": "ping", "%s": {}}'


@cache
def tokenizer(control: bool) -> ChatTokenizer:
    """Bytes, and the markers of all syntaxes as control tokens or not at all."""
    made = Tokenizer.from_str(tokenizer_json())
    if control:
        made.add_special_tokens(sorted(MARKERS))
    return ChatTokenizer(made.to_str(), frozenset({made.token_to_id("<|im_end|>")}))


@cache
def grammars(name: str, control: bool) -> GrammarCompiler:
    return GrammarCompiler(tokenizer(control), tokenizer(control).size, tool_format=TOOL_FORMATS.get(name))


def follows(name: str, control: bool, request: v1.ChatCompletionRequest, text: str) -> bool:
    """Whether the grammar takes the tokens of a text, and may end after them."""
    known = tokenizer(control)
    grammar = grammars(name, control).compiled(constraint_of(request))
    constraint, row = grammar.start(), empty_row(known, 0)
    try:
        for token in known.encode(text):
            constraint.accept(token)
    except ValueError:
        return False
    constraint.fill(row)
    return known.stop_tokens <= set(allowed(row))


def answer(name: str, *calls: str) -> str:
    """Calls as a model writes them."""
    key = OBJECTS[name].arguments
    objects = [call % key for call in calls]
    if name == "hermes":
        return "\n".join(f"<tool_call>\n{each}\n</tool_call>" for each in objects)
    if name in ("mistral", "mistral-nemo"):
        return f"[TOOL_CALLS]{' ' * (name == 'mistral')}[{', '.join(objects)}]"
    return objects[0]


@pytest.mark.parametrize("control", [True, False])
@pytest.mark.parametrize("name", OBJECTS)
def test_what_each_choice_allows(name: str, control: bool) -> None:
    one, text = answer(name, PING), "So { be it."
    cases: dict[str, set[str]] = {
        text: {"auto", "none"},
        "": {"auto", "none"},
        one: {"auto", "required"},
        one + "x": set(),
        one.replace("ping", "pong"): set(),
        one.replace("{}", '{"a": 1}'): set(),
        text + one: {"auto"},
        answer(name, PING, PING): {"auto", "required"},
    }
    if name == "llama3":  # a call is the whole answer
        cases |= {text + one: {"auto", "none"}, "<|python_tag|>" + one: {"auto", "required"}}
    for given, choices in cases.items():
        found = {
            choice
            for choice in ("auto", "none", "required")
            if follows(name, control, tool_request(choice=choice), given)
        }
        assert found == choices, given


@pytest.mark.parametrize("control", [True, False])
@pytest.mark.parametrize("name", OBJECTS)
def test_random_answers_are_read_as_the_calls_they_are(name: str, control: bool) -> None:
    known, ended = tokenizer(control), 0
    for seed in range(12):
        chance, row = random.Random(seed), empty_row(known, 0)
        grammar = grammars(name, control).compiled(constraint_of(tool_request({"node": TOOLS["node"], "ping": None})))
        constraint = grammar.start()
        builder = ChoiceBuilder(known, ChoiceOptions(calls=OBJECTS[name], forced=True))
        for _ in range(400):
            constraint.fill(row)
            ids = list(allowed(row))
            closing = [
                token for token in ids if known.bytes_of(token) in (b"}", b"]", b'"') or token in known.stop_tokens
            ]
            token = int(chance.choice(closing if closing and chance.random() < 0.5 else ids))
            constraint.accept(token)
            stops = token in known.stop_tokens
            builder.feed(TokenEvent(0, 0, token, "stop" if stops else None, 0.0, None))
            if stops:
                break
        delta = builder.take()
        assert not delta.text
        if builder.reason == v1.FINISH_REASON_TOOL_CALLS:
            ended += 1
            assert {call.name for call in delta.calls if call.name} <= {"node", "ping"}
            assert all(isinstance(json.loads(arguments), dict) for arguments in _joined(delta.calls))
    assert ended > 4


def _joined(parts: list[Any]) -> list[str]:
    calls: dict[int, str] = {}
    for part in parts:
        calls[part.index] = calls.get(part.index, "") + part.arguments
    return list(calls.values())


def test_a_control_token_is_allowed_where_calls_begin_and_nowhere_else() -> None:
    known = tokenizer(True)
    marker = {text: token for token, text in known.special_tokens.items()}["[TOOL_CALLS]"]
    grammar = grammars("mistral", True).compiled(constraint_of(tool_request(choice="auto")))
    constraint, row = grammar.start(), empty_row(known, 0)
    constraint.fill(row)
    assert set(known.special_tokens) - known.stop_tokens & set(allowed(row)) == {marker}
    constraint.accept(marker)
    for token in known.encode(' [{"name": "weather", "arguments": {"city": "'):
        constraint.accept(token)
    constraint.fill(row)
    assert not set(known.special_tokens) & set(allowed(row))


def test_control_tokens_are_no_text_where_nothing_is_called() -> None:
    known = tokenizer(True)
    builder = ChoiceBuilder(known, ChoiceOptions())
    for token in (*known.encode("a[TOOL_CALLS]b"),):
        builder.feed(TokenEvent(0, 0, token, None, 0.0, None))
    assert builder.take().text == "ab"
