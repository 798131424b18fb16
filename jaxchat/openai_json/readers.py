"""Strict readers of JSON values.

A reader takes a value and its dotted path. It returns the value for the protobuf message, or raises `ChatError` with
the path as `param`. JSON types must match exactly: `"1"` is not a number, a bool is not a number, and `1.0` is not an
integer.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from jaxchat.errors import invalid, safe_repr, wrong_type

T = TypeVar("T")
Reader = Callable[[Any, str], T]

MAX_NESTING = 64


def anything(value: Any, path: str) -> Any:
    return value


def boolean(value: Any, path: str) -> bool:
    if not isinstance(value, bool):
        raise wrong_type(path, "true or false", value)
    return value


def number(value: Any, path: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise wrong_type(path, "a number", value)
    try:
        result = float(value)
    except OverflowError:
        result = math.inf
    if not math.isfinite(result):
        raise invalid(path, f"expected a finite number, got {safe_repr(value)}.")
    return result


def integer(bits: int, least: int | None = None) -> Reader[int]:
    """Returns a reader of signed integers of `bits` bits, the width of the protobuf field.

    Args:
        bits: 32 or 64.
        least: the field's lower bound; None for the smallest integer of the width. The reader names this bound in the
            error for a value that is too small for the width. It accepts all other values below the bound, because
            the validator checks the bound.
    """
    low, high = -(1 << (bits - 1)), (1 << (bits - 1)) - 1

    def read(value: Any, path: str) -> int:
        if isinstance(value, bool) or not isinstance(value, int):
            raise wrong_type(path, "an integer", value)
        if not low <= value <= high:
            bound = f"most {high}" if value > high else f"least {low if least is None else least}"
            raise invalid(path, f"must be at {bound}, got {safe_repr(value)}.")
        return value

    return read


def string(value: Any, path: str) -> str:
    if not isinstance(value, str):
        raise wrong_type(path, "a string", value)
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        message = f"expected valid Unicode without lone surrogates, got {safe_repr(value)}."
        raise invalid(path, message) from None
    return value


def array(value: Any, path: str) -> Sequence[Any]:
    if not isinstance(value, list | tuple):
        raise wrong_type(path, "an array", value)
    return value


def mapping(value: Any, path: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise wrong_type(path, "an object", value)
    for key in value:
        if not isinstance(key, str):
            raise wrong_type(path, "an object with string keys", key)
    return value


def word(words: Mapping[str, T]) -> Reader[T]:
    """Returns a reader that accepts the keys of `words` and maps them to their values."""
    expected = "one of " + ", ".join(map(repr, words))

    def read(value: Any, path: str) -> T:
        if not isinstance(value, str):
            raise wrong_type(path, expected, value)
        if value not in words:
            raise invalid(path, f"expected {expected}, got {safe_repr(value)}.")
        return words[value]

    return read


def json_text(value: Any, path: str) -> str:
    """Returns the JSON text of an object, such as a JSON Schema. Keeps key order and exact integers.

    Raises:
        ChatError: the value is not an object, is not JSON data, contains a lone surrogate, or is nested more than
            `MAX_NESTING` deep.
    """
    nested_at_most(mapping(value, path), path)
    try:
        return string(json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")), path)
    except (TypeError, ValueError) as error:
        raise invalid(path, f"expected JSON data: {safe_repr(str(error))}.") from None


def nested_at_most(value: Any, path: str | None, limit: int = MAX_NESTING) -> None:
    """Raises `ChatError` at `path` if arrays and objects are nested more than `limit` deep. Does not recurse."""
    level: list[Any] = [value]
    depth = 0
    while level := [item for item in level if isinstance(item, Mapping | list | tuple)]:
        depth += 1
        if depth > limit:
            raise invalid(path, f"Arrays and objects may be nested at most {limit} deep.")
        level = [inner for item in level for inner in (item.values() if isinstance(item, Mapping) else item)]
