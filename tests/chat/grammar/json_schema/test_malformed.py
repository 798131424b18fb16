"""Keywords with values of any kind are translated or refused, never an error of another kind."""

from __future__ import annotations

import contextlib
import json
import random
from typing import Any

from jaxchat.chat.grammar.json_schema import keywords
from jaxchat.chat.grammar.json_schema.digits import limit_digits
from jaxchat.chat.grammar.json_schema.keywords import UnsupportedSchema
from jaxchat.chat.grammar.json_schema.translate import translate

KEYWORDS = sorted(keywords.ASSERTING | {"then", "else", "nullable", "dependencies", "additionalItems", "$defs"})
NUMBERS = (0, -1, 1, 2.5, 1e308, 10**400, -(10**400), float("inf"), 1e-300, 3.0)
TEXTS = ("", "a", "string", "date", "^(?!a)", "^(?!.*", "(?=", "[a", "\\", "#", "#/$defs/a", "#/$defs/b/c", "\ud800")


def random_value(chance: random.Random, depth: int) -> Any:
    kind = chance.randrange(8)
    if kind < 4 or not depth:
        return chance.choice([None, True, False, chance.choice(NUMBERS), chance.choice(TEXTS), [], {}])
    if kind == 4:
        return [random_value(chance, depth - 1) for _ in range(2)]
    if kind == 5:
        return {chance.choice("abc"): random_value(chance, depth - 1)}
    return random_schema(chance, depth - 1)


def random_schema(chance: random.Random, depth: int) -> dict[str, Any]:
    return {chance.choice(KEYWORDS): random_value(chance, depth) for _ in range(chance.randrange(1, 4))}


def test_any_value_of_a_keyword_is_translated_or_refused() -> None:
    chance, translated = random.Random(1), 0
    for _ in range(20_000):
        schema = random_schema(chance, 3)
        with contextlib.suppress(UnsupportedSchema, RecursionError):
            json.dumps(limit_digits(translate(schema)[0]))
            translated += 1
    assert translated > 500
