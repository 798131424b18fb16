"""What every schema of a request must be, whatever it says."""

from __future__ import annotations

import json
from typing import Any

from jaxchat.errors import invalid, shown

MAX_BYTES = 256 << 10
MAX_DEPTH = 64


def checked(text: str, param: str) -> str:
    """A schema's text when it is a JSON object within the limits, no name twice. Raises `ChatError` naming `param`."""
    if len(text.encode()) > MAX_BYTES:
        raise invalid(param, f"A schema takes at most {MAX_BYTES} bytes, got {len(text.encode())}.")
    if _deeper(text, MAX_DEPTH):
        raise invalid(param, f"A schema is nested at most {MAX_DEPTH} deep.")
    try:
        schema = json.loads(text, parse_constant=_no_constant, object_pairs_hook=_members)
    except (ValueError, RecursionError) as error:
        raise invalid(param, f"Expected a JSON Schema as JSON text: {shown(str(error))}.") from None
    if not isinstance(schema, dict):
        raise invalid(param, f"Expected a JSON Schema object, got {shown(schema)}.")
    return text


def _deeper(text: str, limit: int) -> bool:
    """Whether brackets outside strings nest deeper than `limit`; text that is no JSON fails later."""
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


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        raise ValueError("an object has the same name twice")
    return members


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")
