"""Formats with tags: a value may contain the tag that ends values, wherever the text is cut."""

from __future__ import annotations

import pytest

from jaxchat.chat.tools.format import TOOL_FORMATS
from tests.chat.grammar.test_tool_calls import tool_request
from tests.chat.grammar.test_tool_writer import follows
from tests.chat.tools.spelling import SPELLINGS, Calls
from tests.chat.tools.test_every_format import read, signatures
from tests.chat.tools.test_json_parser import deltas

TOOLS = {
    "write": {
        "type": "object",
        "properties": {"text": {"type": "string"}, "note": {"type": ["string", "null"]}, "count": {"type": "integer"}},
        "required": ["text"],
        "additionalProperties": False,
    }
}
ENDS = {
    "glm-4.5": "</arg_value>",
    "glm-4.7": "</arg_value>",
    "minimax-m2": "</parameter>",
    "seed-oss": "</parameter>",
    "qwen3-coder": "</parameter>",
    "deepseek-v3.2": "</｜DSML｜parameter>",
    "deepseek-v4": "</｜DSML｜parameter>",
}


@pytest.mark.parametrize("name", ENDS)
@pytest.mark.parametrize("text", ["a%sb", "%s", "x\n%s\n", "%s\n<b>%s%s y", "%s\n</p", "%s\n\n", "\n%s<"])
def test_a_value_may_contain_its_end_tag(name: str, text: str) -> None:
    value = text.replace("%s", ENDS[name])
    calls: Calls = [("write", {"count": 3, "text": value, "note": value}), ("write", {"text": value})]
    written = SPELLINGS[name](calls)
    for control in (True, False):
        assert follows(name, control, tool_request(TOOLS, "required"), written)
    for cuts in ([], list(range(len(written.encode())))):
        found = deltas(written, cuts, calls=TOOL_FORMATS.get(name), signatures=signatures(TOOLS))
        assert read(found) == ("", calls)


@pytest.mark.parametrize("name", ENDS)
def test_a_value_ends_where_another_argument_or_the_end_of_the_call_follows(name: str) -> None:
    once = SPELLINGS[name]([("write", {"text": "a", "note": "b"})])
    again = SPELLINGS[name]([("write", {"text": "a", "note": "b", "count": "c"})]).replace("count", "text")
    strict = tool_request({"write": TOOLS["write"] | {"required": ["text", "note"]}}, "required")
    for control in (True, False):
        assert follows(name, control, strict, once)
        assert not follows(name, control, strict, again)  # a text with a second argument in it
    assert read(deltas(once, [], calls=TOOL_FORMATS.get(name))) == ("", [("write", {"text": "a", "note": "b"})])
