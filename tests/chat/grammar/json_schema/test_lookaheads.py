"""Patterns without their lookaheads match what Python's own engine matches with them."""

from __future__ import annotations

import re
from itertools import product

import pytest

from jaxchat.chat.grammar.json_schema.lookaheads import EQUIVALENT, without_lookaheads


def in_python(pattern: str) -> str:
    """Returns an ECMA-262 pattern in the dialect of Python."""
    pattern = re.sub(r"\\u\{([0-9a-f]+)\}", lambda match: re.escape(chr(int(match[1], 16))), pattern)
    return pattern.replace("[^]", r"[\s\S]")


STRINGS = ["".join(chars) for size in range(6) for chars in product("a1.", repeat=size)]
PATTERNS = [
    r"^(?!\.)(?!.*\.\.)[a1.]*$",
    r"^(?=.*a)(?=.*1).{2,4}$",
    r"^(?!^[1.]*$)1*[a.]+$",
    r"^(?!a+$)[a1]+$",
    r"^(?!.*a1a)[a1]*$",
    r"^(?!.*aa1\.)[a1]*",
    r"^(?!.*[.1])a*$",
    r"^(?!a$|a1$|\.$).*$",
    r"^(?!(?:a1|1a)$).+$",
    r"^(?=.{2,3}$)(?:a|1)+$",
    r"a.1",
    r"^a|1$",
]


@pytest.mark.parametrize("pattern", PATTERNS)
def test_the_same_strings_match(pattern: str) -> None:
    parts = [re.compile(in_python(part)) for part in without_lookaheads(pattern)]
    whole = re.compile(pattern)
    for text in STRINGS:
        assert all(part.search(text) for part in parts) == bool(whole.search(text)), text


@pytest.mark.parametrize("text", ["a-b", "z-a", r"\//", "-->", "a--b", r"\--", "b-", r"-\]"])
def test_avoided_texts_with_characters_that_mean_something_in_a_class(text: str) -> None:
    pattern = f"^(?!.*{text})"
    parts, whole = [re.compile(in_python(part)) for part in without_lookaheads(pattern)], re.compile(pattern)
    letters = sorted({*text.replace("\\", ""), "m"})
    for chars in (chars for size in range(5) for chars in product(letters, repeat=size)):
        tried = "".join(chars)
        assert all(part.search(tried) for part in parts) == bool(whole.search(tried)), tried


@pytest.mark.parametrize("pattern", EQUIVALENT)
def test_known_patterns_are_equivalent(pattern: str) -> None:
    known, same = re.compile(pattern), re.compile(EQUIVALENT[pattern])
    for size in range(1, 6):
        for chars in product(("1Y", "2M", "3D", "T", "4H", "5S", "6.5S", "7W", "1"), repeat=size):
            text = "P" + "".join(chars)
            assert bool(known.search(text)) == bool(same.search(text)), text


@pytest.mark.parametrize("pattern", [r"^(?!a.c)x", r"^(?!.*(?:a|b))x", r"^(?!(a)", r"^(?!.*" + "a" * 20 + ")x"])
def test_other_lookaheads_are_refused(pattern: str) -> None:
    with pytest.raises(ValueError, match=r"lookahead|closed"):
        without_lookaheads(pattern)
