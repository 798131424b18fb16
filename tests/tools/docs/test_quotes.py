"""Messages that `docs/troubleshooting.md` quotes are in the code."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
PAGE = (ROOT / "docs/troubleshooting.md").read_text("utf-8")
PLACEHOLDER = re.compile(r"\b[A-Z_]+\b|\b\d+\b|'[a-z_]+'|--|\.\.\.|\. |\[|\]")
OTHERS = ("pip install", "git lfs", "Authorization", "GET /", "--")


@cache
def texts() -> tuple[str, ...]:
    """Returns all strings of the code. A formatted value in a string is a null character."""
    found: list[str] = []
    for path in [*ROOT.glob("jaxchat/**/*.py"), *ROOT.glob("serving/**/*.py")]:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.JoinedStr):
                found.append(
                    "".join(str(part.value) if isinstance(part, ast.Constant) else "\0" for part in node.values)
                )
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.append(node.value)
    return tuple(found)


def quotes() -> Iterator[str]:
    """Yields the messages that the page quotes: code of several words that is not a command."""
    for code in re.findall(r"`([^`\n]+)`", PAGE):
        if len(code.split()) > 2 and not code.startswith(OTHERS):
            yield code


def fragments(quote: str) -> list[str]:
    """Returns the parts of a message between its placeholders."""
    parts = (part.strip(" :'\",.()?#/") for part in PLACEHOLDER.split(quote))
    return [part for part in parts if len(part) > 3]


@pytest.mark.parametrize("quote", sorted(set(quotes())))
def test_a_quoted_message_is_in_the_code(quote: str) -> None:
    assert fragments(quote)
    for fragment in fragments(quote):
        assert any(fragment in text for text in texts()), f"nothing says {fragment!r}"


def test_enough_messages_are_quoted() -> None:
    assert len(set(quotes())) > 30
    assert fragments("pages must be more than N, got M") == ["pages must be more than"]
