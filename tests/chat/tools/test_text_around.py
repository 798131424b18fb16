"""Control tokens around the text of an answer: the grammar allows them, and nobody sees them."""

from __future__ import annotations

import pytest

from jaxchat.chat.tools.format import TOOL_FORMATS
from tests.chat.grammar.test_tool_calls import tool_request
from tests.chat.grammar.test_tool_writer import follows
from tests.chat.tools.spelling import SPELLINGS
from tests.chat.tools.test_json_parser import deltas, joined

R7B = "<|START_RESPONSE|>Hi.<|END_RESPONSE|>"
CALL = "<|message_sep|>\n\nfunction call<|role_sep|>\n"


@pytest.mark.parametrize("control", [True, False])
@pytest.mark.parametrize(
    ("name", "text", "choices"),
    [
        ("command-r7b", R7B, {"auto", "none"}),
        ("command-r7b", "<|START_TEXT|>Hi.<|END_TEXT|>", {"auto", "none"}),
        ("command-r7b", "Hi.", {"auto", "none"}),
        ("command-r7b", R7B + SPELLINGS["command-r7b"]([("ping", {})]), {"auto"}),
        ("gigachat-3", "Hi.", {"auto", "none"}),
        ("gigachat-3", "Hi." + SPELLINGS["gigachat-3"]([("ping", {})]), {"auto"}),
        ("gigachat-3", f'Hi.{CALL}{{"name": "ping", "arguments": {{}}}}', {"auto"}),
    ],
)
def test_text_with_its_frame(name: str, text: str, choices: set[str], control: bool) -> None:
    tools = {"ping": {"type": "object", "properties": {}}}
    for choice in ("auto", "none", "required"):
        assert follows(name, control, tool_request(tools, choice), text) == (choice in choices), choice
    for cuts in ([], list(range(len(text)))):
        found = deltas(text, cuts, calls=TOOL_FORMATS.get(name))
        assert "".join(delta.text for delta in found) == "Hi."
        assert any(delta.calls for delta in found) == ("ping" in text)


@pytest.mark.parametrize("callable", [True, False])
def test_a_cut_frame_is_text_until_it_is_complete(callable: bool) -> None:
    calls = TOOL_FORMATS.get("command-r7b")
    assert joined(deltas(R7B[:-3], [], finish="length", calls=calls, callable=callable))[0].startswith("Hi.")
    assert joined(deltas(R7B, [7, 30], calls=calls, callable=callable)) == ("Hi.", [])
