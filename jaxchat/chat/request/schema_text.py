"""A JSON Schema of a request, parsed once: its text and its value."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from jaxchat.errors import ChatError, invalid, reject_constant, safe_repr


@dataclass(frozen=True)
class SchemaText:
    """The text of a JSON object, and its value. Equality compares texts only."""

    text: str
    value: dict[str, Any] = field(compare=False, repr=False)
    repeated: bool = field(default=False, compare=False)  # whether an object has duplicate names


def parse_schema(text: str, path: str) -> SchemaText:
    """Parses a schema. Raises `ChatError` that names `path` if the text is not a JSON object."""
    repeated = False

    def members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        nonlocal repeated
        value = dict(pairs)
        repeated = repeated or len(value) < len(pairs)
        return value

    try:
        value = json.loads(text, parse_constant=reject_constant, object_pairs_hook=members)
    except (ValueError, RecursionError) as error:
        raise not_a_schema(str(error), path) from None
    if not isinstance(value, dict):
        raise invalid(path, f"Expected a JSON Schema object, got {safe_repr(value)}.")
    return SchemaText(text, value, repeated)


def not_a_schema(reason: str, path: str) -> ChatError:
    """Returns the error for a text that is not JSON, or is ambiguous."""
    return invalid(path, f"Expected a JSON Schema as JSON text: {safe_repr(reason)}.")
