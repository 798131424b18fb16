"""Answers in messages to recipients: what the user sees of them, and which the grammar allows."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxchat import v1
from jaxchat.chat.tools.functionary import FUNCTIONARY_32
from tests.chat.grammar.test_tool_calls import tool_request
from tests.chat.grammar.test_tool_writer import follows
from tests.chat.tools.test_json_parser import CUTS, OBJECTS, deltas, joined

TOOLS = {"f_1": {"type": "object", "properties": {"a": {"type": "string"}}}}
CONTENT = st.text("ab >\né", max_size=8).map(str.strip)


@settings(max_examples=200, deadline=None)
@given(CONTENT, st.lists(OBJECTS.map(lambda given: json.dumps(given, ensure_ascii=False)), max_size=2), CUTS)
def test_text_and_calls_are_read_wherever_they_are_cut(content: str, arguments: list[str], cuts: list[int]) -> None:
    text = ">>>".join([f"all\n{content}", *(f"f_1\n{given}" for given in arguments)])
    if content.endswith(">") and arguments:
        return  # a message that ends like the next header begins
    for places in ([], cuts, list(range(len(text.encode())))):
        assert joined(deltas(text, places, calls=FUNCTIONARY_32)) == (content, arguments)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("all\nHi", "Hi"),
        (">>>all\nHi", "Hi"),
        ("Hi", "Hi"),
        ("al", ""),
        ("all\n>>> print(1)\n1", ">>> print(1)\n1"),
        ("all\n>>>f_1\n{}", ">>>f_1\n{}"),
    ],
)
def test_without_calls_only_the_recipient_is_hidden(text: str, shown: str) -> None:
    for cuts in ([], list(range(len(text)))):
        assert joined(deltas(text, cuts, calls=FUNCTIONARY_32, callable=False)) == (shown, [])


@pytest.mark.parametrize("end", range(13, 22))
def test_a_cut_call_is_not_shown(end: int) -> None:
    text = 'all\nHi>>>f_1\n{"a": ""}'
    found = deltas(text[:end], [], finish="length", calls=FUNCTIONARY_32)
    assert joined(found) == ("Hi", [text[13:end]]) and found[-1].finish == v1.FINISH_REASON_LENGTH


def test_the_grammar_of_messages() -> None:
    accepted = {
        "all\nHi": {"auto", "none"},
        'f_1\n{"a": "x"}': {"auto", "required"},
        'f_1\n{"a": "x"}>>>f_1\n{}': {"auto", "required"},
        "all\n>>> x\n>>>f_1\n{}": {"auto"},
        "all\n>>>f_2\n{}": set(),
        "f_2\n{}": set(),
        "f_1\n{}>>>all\nHi": set(),
    }
    for text, choices in accepted.items():
        for choice in ("auto", "none", "required"):
            request = tool_request(TOOLS, choice)
            assert follows("functionary-3.2", False, request, text) == (choice in choices), (text, choice)
