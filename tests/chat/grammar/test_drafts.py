"""Grammars and draft tokens: a copy of a constraint looks ahead, and what can only come is guessed."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest

from jaxchat.chat.grammar import matcher
from tests.chat.grammar.walking import allowed, bundled, constraint_of, empty_row, grammars, request

NAMES: dict[str, Any] = {"type": "object", "properties": {"first_name": {"type": "string"}, "age": {"type": "integer"}}}
SCHEMAS: dict[str, dict[str, Any]] = {
    "object": {**NAMES, "required": ["first_name", "age"], "additionalProperties": False},
    "choice": {"anyOf": [{"const": "abc"}, {"type": "number"}, {"enum": ["abd", 12, None]}]},
    "list": {"type": "array", "items": {"type": "string", "pattern": "^[a-c]{2,4}$"}, "maxItems": 5},
}


def single(text: bytes) -> int:
    return next(token for token in range(bundled().size) if bundled().bytes_of(token) == text)


@pytest.mark.parametrize("name", SCHEMAS)
@pytest.mark.parametrize("seed", range(4))
def test_looking_ahead_leaves_no_trace(name: str, seed: int) -> None:
    grammar = grammars().compiled(constraint_of(request(SCHEMAS[name])))
    constraint, chance, row, again = grammar.start(), random.Random(seed), empty_row(bundled()), empty_row(bundled())
    for _ in range(40):
        constraint.fill(row)
        again[:] = row
        ahead = constraint.copy()
        assert ahead
        for _ in range(chance.randint(0, 6)):
            token = chance.choice(allowed(again).tolist())
            ahead.accept(token)
            ahead.fill(again)
            if constraint.is_end(token):
                break
        constraint.fill(again)
        np.testing.assert_array_equal(again, row)
        token = chance.choice(allowed(row).tolist())
        constraint.accept(token)
        if constraint.is_end(token):
            return


def test_forced_tokens_are_the_only_text_that_may_come() -> None:
    constraint, row = grammars().compiled(constraint_of(request(SCHEMAS["object"]))).start(), empty_row(bundled())
    for text in (b"{", b'"'):
        constraint.accept(single(text))
    forced = constraint.forced()
    text = b"".join(bundled().bytes_of(token) for token in forced)
    assert text and b'first_name"'.startswith(text)
    for token in forced:
        constraint.fill(row)
        assert token in allowed(row)
        constraint.accept(token)


def test_nothing_is_forced_after_the_end() -> None:
    constraint = grammars().compiled(constraint_of(request({"const": 1}))).start()
    constraint.accept(single(b"1"))
    constraint.accept(min(bundled().stop_tokens))
    assert constraint.forced() == []


def test_an_old_grammar_is_not_looked_ahead(monkeypatch: pytest.MonkeyPatch) -> None:
    constraint = grammars().compiled(constraint_of(request(SCHEMAS["object"]))).start()
    assert constraint.copy()
    monkeypatch.setattr(matcher, "RECOMPILE_AFTER", 0)
    constraint.accept(single(b"{"))
    assert constraint.copy() is None
