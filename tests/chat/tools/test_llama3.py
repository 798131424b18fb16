"""Llama 3 may write the type of a call before its name."""

from __future__ import annotations

import pytest

from jaxchat.chat.tools.llama3 import LLAMA3
from tests.chat.grammar.test_tool_calls import tool_request
from tests.chat.grammar.test_tool_writer import follows
from tests.chat.tools.test_json_parser import deltas, joined

TYPED = '{"type": "function", "name": "%s", "parameters": {%s}}'


@pytest.mark.parametrize("opening", ["", "<|python_tag|>"])
def test_a_call_with_a_type_is_a_call(opening: str) -> None:
    text = opening + TYPED % ("f_1", '"a": 1')
    for cuts in ([], list(range(len(text)))):
        assert joined(deltas(text, cuts, calls=LLAMA3)) == ("", ['{"a": 1}'])


@pytest.mark.parametrize(
    "text", ['{"type": "number", "name"', '{"type": "function"}', '{"typed": 1', '{"type" : "func']
)
def test_another_object_is_content(text: str) -> None:
    for cuts in ([], list(range(len(text)))):
        assert joined(deltas(text, cuts, calls=LLAMA3)) == (text, [])


@pytest.mark.parametrize("control", [True, False])
def test_the_grammar_agrees(control: bool) -> None:
    for choice in ("auto", "required"):
        assert follows("llama3", control, tool_request(choice=choice), TYPED % ("ping", ""))
        assert not follows("llama3", control, tool_request(choice=choice), TYPED % ("pong", ""))
        spread = (TYPED % ("ping", "")).replace(", ", ",\n")
        assert not follows("llama3", control, tool_request(choice=choice), spread)  # no text that reads as a call
    assert follows("llama3", control, tool_request(choice="auto"), '{"type": "number", "name": 1}')
