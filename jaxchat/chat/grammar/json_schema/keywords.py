"""The keywords of JSON Schema 2020-12 that can be enforced, and simple checks of their values."""

from __future__ import annotations

import math
from typing import Any

TYPES = ("null", "boolean", "number", "string", "array", "object")
APPLICATORS = frozenset({"allOf", "anyOf", "oneOf", "$ref"})
OBJECT = frozenset(
    {"properties", "patternProperties", "additionalProperties", "required", "minProperties", "maxProperties"}
)
ARRAY = frozenset({"items", "prefixItems", "minItems", "maxItems", "uniqueItems"})
NUMBER = frozenset({"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"})
STRING = frozenset({"minLength", "maxLength", "pattern", "format"})
ASSERTIONS = OBJECT | ARRAY | NUMBER | STRING | {"type", "const", "enum"}
ANNOTATIONS = frozenset(
    {"$schema", "$id", "$comment", "$defs", "definitions", "title", "description", "default", "examples"}
    | {"deprecated", "readOnly", "writeOnly", "contentMediaType", "contentEncoding"}
)
MAX_COUNT = 4096  # items and properties
MAX_LENGTH = 1_000_000  # characters of a string
MAX_NUMBER = 2**53  # beyond it, double precision loses units


def check_keywords(schema: dict[str, Any], pointer: str) -> None:
    """Raises `UnsupportedSchema` for the first keyword that could not be enforced."""
    for keyword in schema:
        if keyword not in ASSERTIONS and keyword not in APPLICATORS and keyword not in ANNOTATIONS:
            raise UnsupportedSchema(below(pointer, keyword), "this keyword is not supported.", keyword)
    if "$id" in schema and pointer != "#":
        raise UnsupportedSchema(below(pointer, "$id"), "only the root may have an identifier.", "$id")


def count(value: Any, pointer: str, keyword: str, limit: int) -> int:
    """A whole number from 0 to `limit`."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= limit:
        raise UnsupportedSchema(below(pointer, keyword), f"expected a whole number from 0 to {limit}.", keyword)
    return value


def number(value: Any, pointer: str, keyword: str) -> int | float:
    """A number that double precision holds and decimal notation writes without an exponent."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise UnsupportedSchema(below(pointer, keyword), "expected a number.", keyword)
    if abs(value) > MAX_NUMBER or "e" in repr(value):
        raise UnsupportedSchema(
            below(pointer, keyword), "numbers beyond 2^53, or closer to 0 than 0.0001, are not supported.", keyword
        )
    return value


def types(value: Any, pointer: str) -> list[str]:
    """The names of `type`, one or several."""
    names = value if isinstance(value, list) else [value]
    if not names or any(name not in (*TYPES, "integer") for name in names if isinstance(name, str)):
        raise UnsupportedSchema(below(pointer, "type"), "unknown type.", "type")
    if not all(isinstance(name, str) for name in names):
        raise UnsupportedSchema(below(pointer, "type"), "expected the name of a type, or several.", "type")
    return names


def literal(value: Any, pointer: str, keyword: str) -> None:
    """Checks a value of `const` or `enum`: numbers must be exact and strings must be text."""
    if isinstance(value, dict):
        for name, item in value.items():
            literal(name, pointer, keyword)
            literal(item, pointer, keyword)
    elif isinstance(value, list):
        for item in value:
            literal(item, pointer, keyword)
    elif isinstance(value, str):
        if any("\ud800" <= char <= "\udfff" for char in value):
            raise UnsupportedSchema(below(pointer, keyword), "a lone surrogate is no text.", keyword)
    elif value is not None and not isinstance(value, bool):
        number(value, pointer, keyword)


def schemas(value: Any, pointer: str, keyword: str) -> list[Any]:
    """A list of at least one schema."""
    if not isinstance(value, list) or not value:
        raise UnsupportedSchema(below(pointer, keyword), "expected a list of schemas.", keyword)
    return value


def table(value: Any, pointer: str, keyword: str) -> dict[str, Any]:
    """Schemas by name."""
    if not isinstance(value, dict):
        raise UnsupportedSchema(below(pointer, keyword), "expected an object of schemas.", keyword)
    return value


class UnsupportedSchema(Exception):
    """A schema that cannot be enforced: names the keyword and its JSON pointer, as in `#/properties/a`."""

    def __init__(self, pointer: str, reason: str, keyword: str | None = None) -> None:
        self.pointer = pointer
        self.keyword = keyword
        where = f"'{keyword}' at {pointer}" if keyword else pointer
        super().__init__(f"Schema {where}: {reason}")


def below(pointer: str, *steps: str | int) -> str:
    """The pointer of a part of what `pointer` names."""
    return "".join([pointer, *("/" + str(step).replace("~", "~0").replace("/", "~1") for step in steps)])
