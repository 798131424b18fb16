"""Parses JSON objects that a request holds as text, such as JSON Schemas."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from jaxchat.errors import invalid, repeated_key, safe_repr, wrong_type
from jaxchat.json_text import RepeatedKeyError, parse_json


@dataclass(frozen=True)
class SchemaText:
    """A JSON Schema as text and as a value. Two schemas are equal if their texts are equal."""

    text: str
    value: dict[str, Any] = field(compare=False, repr=False)


def parse_schema(text: str, path: str) -> SchemaText:
    """Parses a schema. Raises `ChatError` 400 as `parse_object` does."""
    return SchemaText(text, parse_object(text, path, "a JSON Schema object"))


def parse_object(text: str, path: str, noun: str) -> dict[str, Any]:
    """Parses a JSON object.

    Args:
        text: the JSON text.
        path: the request field that is named in errors.
        noun: the expected value in messages, such as "a JSON Schema object".

    Raises:
        ChatError: 400 if the text is not a JSON object, or if an object in it has the same key twice. In the second
            case, the error names the path of the key.
    """
    try:
        value = parse_json(text)
    except RepeatedKeyError as error:
        raise repeated_key(f"{path}.{error.path}") from None
    except ValueError as error:
        raise invalid(path, f"Expected {noun} as JSON text: {safe_repr(str(error))}.") from None
    if not isinstance(value, dict):
        raise wrong_type(path, noun, value)
    return value


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
