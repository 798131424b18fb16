"""Formats of calls: one description makes the grammar and the parser, and the registry finds it."""

from __future__ import annotations

import pytest

from jaxchat import v1
from jaxchat.chat.grammar import GrammarCompiler
from jaxchat.chat.response.choice import ChoiceBuilder, ChoiceOptions
from jaxchat.chat.tools.format import TOOL_FORMATS, find_tool_format
from jaxchat.chat.tools.json_format import JsonToolFormat
from jaxchat.registry import RegistryError
from jaxchat.types import TokenEvent
from tests.chat.grammar.test_tool_calls import tool_request
from tests.chat.grammar.test_tool_writer import tokenizer
from tests.chat.grammar.walking import constraint_of

ACME = JsonToolFormat(
    opening="<function>",
    markers=("<function>", "</function>"),
    arguments="input",
    between=("</function>", "<function>"),
    after=("</function>",),
    ended=r"\s*\}\s*</function>",
)
PING = '<function>{"name": "ping", "input": {}}</function>'


def takes(text: str, request: v1.ChatCompletionRequest) -> bool:
    """Whether the grammar that is made of the format takes a text."""
    known = tokenizer(False)
    grammar = GrammarCompiler(known, known.size, tool_format=ACME).compiled(constraint_of(request))
    constraint = grammar.start()
    try:
        for token in known.encode(text):
            constraint.accept(token)
    except ValueError:
        return False
    return True


def test_a_description_makes_the_grammar():
    assert takes(PING + PING, tool_request(choice="required"))
    assert takes("So be it. " + PING, tool_request(choice="auto"))
    assert not takes(PING.replace("input", "arguments"), tool_request(choice="required"))
    assert not takes(PING.replace("ping", "pong"), tool_request(choice="required"))


def test_a_description_makes_the_parser():
    known = tokenizer(False)
    builder = ChoiceBuilder(known, ChoiceOptions(calls=ACME))
    for token in known.encode("So be it. " + PING + PING):
        builder.feed(TokenEvent(0, 0, token, None, 0.0, None))
    builder.feed(TokenEvent(0, 0, min(known.stop_tokens), "stop", 0.0, None))
    delta = builder.take()
    assert delta.text == "So be it." and delta.finish == v1.FINISH_REASON_TOOL_CALLS
    assert [(call.name, call.arguments) for call in delta.calls] == [("ping", "{}")] * 2


def test_every_built_in_format_can_be_named():
    for name in ("hermes", "llama3", "mistral", "harmony"):
        assert find_tool_format(name, "") is TOOL_FORMATS.get(name)
    with pytest.raises(RegistryError, match="unknown tool format 'lama3', did you mean 'llama3'"):
        find_tool_format("lama3", "")
