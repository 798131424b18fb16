"""Patterns that say all of a text, so that a format beside them need not be enforced."""

from __future__ import annotations

import pytest

from jaxchat.chat.grammar.json_schema.formats import is_whole


@pytest.mark.parametrize("pattern", ["^a$", "^(?:a|b)$", "^[|]$", r"^a\|b$", r"^[\]|]$", "^()$", r"^(a(b|c)\))$", "^$"])
def test_a_pattern_from_the_beginning_to_the_end_is_whole(pattern: str) -> None:
    assert is_whole(pattern)


@pytest.mark.parametrize("pattern", ["a$", "^a", "^a|b$", "^(a)|(b)$", "^a$|^b$", r"^a\$", r"^(\()|b$", "^", None, 5])
def test_others_are_not(pattern: object) -> None:
    assert not is_whole(pattern)
