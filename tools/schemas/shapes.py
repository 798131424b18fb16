"""Schemas of scalars in the forms that programs such as pydantic write, each with values that it should admit."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Sample = Callable[[random.Random], Any]
SAFE = 2**53 - 1  # the largest safe integer of JavaScript


@dataclass(frozen=True)
class Shape:
    """A schema with a source of values.

    Attributes:
        schema: the JSON Schema.
        sample: draws a value that should satisfy the schema.
    """

    schema: dict[str, Any]
    sample: Sample


def constant(*values: Any) -> Sample:
    """Returns a function that draws one of `values`."""
    return lambda chance: chance.choice(values)


WORDS = (
    "a",
    "Oslo",
    "two words",
    'say "hi"',
    "back\\slash",
    "naïve",
    "日本",
    "\U0001f600",
    "",
    "line\nbreak",
    "x" * 40,
)
PATTERNS: dict[str, tuple[str, ...]] = {
    r"^[a-z0-9-]+$": ("a", "my-slug-1"),
    r"^\d{3}-\d{4}$": ("555-0199",),
    r"^[A-Z]{3}$": ("NOK", "EUR"),
    r'^[^"\\/]{1,8}$': ("file", "a b", "ü"),
    r"^[^<>:\"/\\|?*]+$": ("report.txt",),
    r"^(?:#[0-9a-fA-F]{6}|[a-z]+)$": ("#00ff7F", "red"),
    r"\S": ("x", " y "),
    r"^\+[1-9]\d{6,14}$": ("+4712345678",),
    r"^[\s\S]{2,4}$": ("ab", "a\nb"),
    r"^[\w.-]+@[\w-]+\.[a-z]{2,}$": ("ada@example.org",),
    r"^(?=.*\d)(?=.*[a-z]).{4,}$": ("abc1", "1zzzz"),
    r"^(?!\.)(?!.*\.\.)[a-z.]+$": ("a.b", "abc"),
}
FORMATS: dict[str, tuple[str, ...]] = {
    "date": ("2024-02-29", "1999-12-31"),
    "time": ("12:30:00Z", "23:59:59.5+01:00"),
    "date-time": ("2024-02-29T12:30:00Z",),
    "email": ("ada@example.org",),
    "uuid": ("123e4567-e89b-12d3-a456-426614174000",),
    "ipv4": ("127.0.0.1",),
    "hostname": ("example.org",),
    "uri": ("https://example.org/a?b=c",),
    "duration": ("P1DT2H", "PT30M"),
    "binary": ("anything", '"'),
    "password": ("secret", "\\"),
    "path": ("/tmp/x",),
    "cuid": ("ck1",),
    "unheard-of": ("anything",),
}


def _text(chance: random.Random) -> Shape:
    low = chance.choice([0, 0, 1, 2])
    schema: dict[str, Any] = {"type": "string"} | ({"minLength": low} if low else {})
    if chance.random() < 0.4:
        schema["maxLength"] = low + chance.randrange(1, 12)
    return Shape(schema, lambda again: again.choice(WORDS)[: schema.get("maxLength", 99)])


def _pattern(chance: random.Random) -> Shape:
    pattern, values = chance.choice([*PATTERNS.items()])
    return Shape({"type": "string", "pattern": pattern}, constant(*values))


def _format(chance: random.Random) -> Shape:
    name, values = chance.choice([*FORMATS.items()])
    return Shape({"type": "string", "format": name}, constant(*values))


def _whole(chance: random.Random) -> Shape:
    schema: dict[str, Any] = {"type": "integer"}
    low, high = -(10**6), 10**6
    form = chance.randrange(6)
    if form == 0:
        schema |= {"minimum": -SAFE, "maximum": SAFE}
    elif form == 1:
        schema |= {"format": chance.choice(["int32", "int64", "uint64"])}
    elif form == 2:
        schema |= {"minimum": -(2**63), "maximum": 2**63 - 1, "format": "int64"}
    elif form == 3:
        low = chance.randrange(-50, 50)
        high = low + chance.randrange(1, 500)
        schema |= {"minimum": low, "exclusiveMaximum": high}
    elif form == 4:
        low, high = 0, 9 * 10**15
        schema |= {"exclusiveMinimum": 0}
    return Shape(schema, lambda again: again.randrange(low, high))


def _decimal(chance: random.Random) -> Shape:
    form = chance.randrange(5)
    if form == 0:
        return Shape({"type": "number", "minimum": 0, "maximum": 1}, lambda again: round(again.random(), 6))
    if form == 1:
        return Shape({"type": "number", "exclusiveMinimum": 0}, lambda again: round(again.uniform(0.01, 1e6), 2))
    if form == 2:
        return Shape({"type": "number", "multipleOf": 0.5}, lambda again: again.randrange(-9999, 9999) / 2)
    if form == 3:
        schema = {"type": "number", "minimum": 0, "exclusiveMinimum": True, "format": "double"}
        return Shape(schema, constant(0.5, 12, 99.25))
    return Shape({"type": "number"}, lambda again: again.choice([0, -1.5, 123456789.25, 1234567890123, 0.000123]))


def _flag(chance: random.Random) -> Shape:
    return Shape({"type": "boolean"}, constant(True, False))


def _literal(chance: random.Random) -> Shape:
    value = chance.choice(["a", 'q"', 1, 2.5, True, None, "\\", ""])
    names = {str: "string", int: "integer", float: "number", bool: "boolean", type(None): "null"}
    typed = {"type": names[type(value)]} if chance.random() < 0.5 else {}
    return Shape(typed | {"const": value}, constant(value))


def _choice(chance: random.Random) -> Shape:
    values = chance.sample(["red", "green", "blue", "b c", 'x"y', "é"], chance.randrange(1, 5))
    return Shape({"type": "string", "enum": values}, constant(*values))


def _mixed(chance: random.Random) -> Shape:
    values = chance.sample([1, 2, "a", "b", None, False, 0.5], chance.randrange(1, 5))
    return Shape({"enum": values}, constant(*values))


def _negated(chance: random.Random) -> Shape:
    form = chance.randrange(3)
    if form == 0:
        return Shape({"type": "string", "not": {"enum": ["admin", "root"]}}, constant("ada", "adminx", "", "roo"))
    if form == 1:
        return Shape({"type": "integer", "not": {"const": 0}}, constant(-1, 1, 17))
    return Shape({"type": "number", "not": {"minimum": 3}}, constant(2.5, -1))


LEAVES = (_text, _text, _pattern, _format, _whole, _decimal, _flag, _literal, _choice, _mixed, _negated)


def leaf(chance: random.Random) -> Shape:
    """Returns a random schema for strings, numbers or other scalars, with a function that draws its values."""
    return chance.choice(LEAVES)(chance)
