"""Python calls: names of arguments that cannot be keywords, and strings in single quotes."""

from __future__ import annotations

import json
from typing import Any

import pytest

from jaxchat.chat.tools.format import TOOL_FORMATS
from jaxchat.errors import ChatError
from tests.chat.grammar.test_tool_calls import tool_request
from tests.chat.grammar.test_tool_writer import follows
from tests.chat.tools.test_every_format import read
from tests.chat.tools.test_json_parser import deltas


@pytest.mark.parametrize(("name", "argument"), [("pythonic", "user-id"), ("lfm2", "user-id"), ("glm-4.5", "a<b")])
def test_the_error_names_the_function_and_the_argument(name: str, argument: str) -> None:
    named = {"type": "object", "properties": {argument: {"type": "string"}}}
    tools: dict[str, Any] = {"ping": {"type": "object", "properties": {}}, "pong": named}
    with pytest.raises(ChatError, match=repr(argument)) as caught:
        follows(name, False, tool_request(tools, "auto"), "")
    assert caught.value.param == "tools.1.function.parameters"


TOOLS = {
    "f": {
        "type": "object",
        "properties": {"a": {"type": "string"}, "b": {"enum": ["x y", "z"]}, "c": {"type": "integer"}},
        "required": ["a"],
        "additionalProperties": False,
    }
}
TEXTS = ["Oslo", "", "it's", 'say "a", b) (', "a\\nb", "\\", "a\nb\tc", "é ☃ 🙂", "\\'"]


def calls(name: str, body: str) -> str:
    return f"<|tool_call_start|>[{body}]<|tool_call_end|>" if name == "lfm2" else f"[{body}]"


def python(text: str) -> str:
    """A text in single quotes, as Python reads it."""
    for char, escape in (("\\", "\\\\"), ("'", "\\'"), ("\n", "\\n"), ("\t", "\\t")):
        text = text.replace(char, escape)
    return f"'{text}'"


@pytest.mark.parametrize("name", ["pythonic", "lfm2"])
@pytest.mark.parametrize("text", TEXTS)
def test_a_string_may_have_single_quotes(name: str, text: str) -> None:
    written = calls(name, f"f(a={python(text)}, b='x y', c=3), f(a={json.dumps(text)})")
    for control in (True, False):
        assert follows(name, control, tool_request(TOOLS, "required"), written)
    for cuts in ([], list(range(len(written.encode())))):
        found = deltas(written, cuts, calls=TOOL_FORMATS.get(name))
        assert read(found) == ("", [("f", {"a": text, "b": "x y", "c": 3}), ("f", {"a": text})])


@pytest.mark.parametrize("body", ["f(a='x)", "f(a='a', b='q')", "f(a='a', c='3')", "f(a='\\x')", "f(a='a\nb')"])
def test_single_quotes_follow_the_schema(body: str) -> None:
    assert not follows("lfm2", False, tool_request(TOOLS, "required"), calls("lfm2", body))
