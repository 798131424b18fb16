"""The text of thoughts, from their bytes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxchat.chat.response.thought_text import ThoughtText


@given(st.lists(st.text("é€\n a", max_size=6), max_size=4))
def test_blocks_lose_their_outer_line_breaks_and_are_joined_by_one(blocks: list[str]) -> None:
    thoughts, shown = ThoughtText(), ""
    for block in blocks:
        shown += "".join(thoughts.feed(bytes([byte])) for byte in block.encode()) + thoughts.close()
    assert shown == "\n".join(text for block in blocks if (text := block.strip("\n")))


@pytest.mark.parametrize(("data", "text"), [(b"a\xc3", "a\ufffd"), (b"a\n\xe2\x82", "a\n\ufffd"), (b"\n\n", "")])
def test_an_incomplete_character_is_replaced_at_the_end(data: bytes, text: str) -> None:
    thoughts = ThoughtText()
    assert thoughts.feed(data) + thoughts.close() == text
    assert thoughts.close() == "" and thoughts.feed(b"\xa9") == "\n\ufffd" if text else True
