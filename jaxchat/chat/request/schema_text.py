"""Parses JSON objects that a request holds as text, such as JSON Schemas."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from jaxchat.errors import ChatError, invalid, reject_constant, safe_repr


@dataclass(frozen=True)
class SchemaText:
    """A JSON Schema as text and as a value. Equality compares texts only."""

    text: str
    value: dict[str, Any] = field(compare=False, repr=False)
    repeated: bool = field(default=False, compare=False)  # whether an object has duplicate names


def parse_schema(text: str, path: str) -> SchemaText:
    """Parses a schema. Raises `ChatError` 400 on the field `path` if the text is not a JSON object."""
    return SchemaText(text, *parse_object(text, path, "a JSON Schema object"))


def parse_object(text: str, path: str, noun: str) -> tuple[dict[str, Any], bool]:
    """Parses a JSON object.

    Args:
        text: the JSON text.
        path: the request field that errors name.
        noun: the expected value in messages, such as "a JSON Schema object".

    Returns:
        The object, and whether an object in it has duplicate names.

    Raises:
        ChatError: 400 if the text is not a JSON object.
    """
    repeated = False

    def members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        nonlocal repeated
        value = dict(pairs)
        repeated = repeated or len(value) < len(pairs)
        return value

    try:
        value = json.loads(text, parse_constant=reject_constant, object_pairs_hook=members)
    except (ValueError, RecursionError) as error:
        raise not_a_schema(str(error), path, noun) from None
    if not isinstance(value, dict):
        raise invalid(path, f"Invalid value for '{path}': expected {noun}, got {safe_repr(value, 100)}.")
    return value, repeated


def deeper_than(text: str, limit: int) -> bool:
    """Returns whether brackets outside strings nest deeper than `limit`. Does not check that the text is JSON."""
    depth, quoted, escaped = 0, False, False
    for char in text:
        if quoted:
            quoted, escaped = escaped or char != '"', not escaped and char == "\\"
        elif char == '"':
            quoted = True
        elif char in "[{":
            depth += 1
            if depth > limit:
                return True
        elif char in "]}":
            depth -= 1
    return False


def not_a_schema(reason: str, path: str, noun: str = "a JSON Schema object") -> ChatError:
    """Returns the 400 for a text that is not JSON, or is ambiguous."""
    return invalid(path, f"Invalid value for '{path}': expected {noun} as JSON text: {reason[:150]}.")
