"""Checks and translates one schema of a request."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from jaxchat.chat.grammar.json_schema.keywords import UnsupportedSchema
from jaxchat.chat.grammar.json_schema.translate import translate
from jaxchat.errors import ChatError, invalid, reject_constant, safe_repr

ANY_OBJECT, ANY_VALUE, EMPTY_OBJECT = '{"type": "object"}', "{}", '{"type": "object", "additionalProperties": false}'
_KNOWN_TO_COMPILE = (ANY_OBJECT, ANY_VALUE, EMPTY_OBJECT)
_NO_DETAILS = "<non-verbose/>"
_KEYWORDS_BY_ERROR = {  # parts of the library's errors, and the keywords that can cause them
    "oneOf": ("oneOf",),
    "Properties": ("minProperties", "maxProperties"),
    "attern propert": ("patternProperties",),
    "regex": ("pattern", "patternProperties"),
    "lookaround": ("pattern", "patternProperties"),
    "circular": ("$ref",),
}


@dataclass(frozen=True)
class SchemaSource:
    """The text of a schema and its request field. `object_only` restricts the schema to objects."""

    text: str
    param: str
    object_only: bool = False

    @property
    def known_to_compile(self) -> bool:
        """Whether the schema needs no probe."""
        return self.text in _KNOWN_TO_COMPILE

    def translated(self, prefix: str = "") -> tuple[dict[str, Any], dict[str, list[str]]]:
        """Returns the result of `translate`. Raises `ChatError` that names the field, the keyword and its pointer."""
        try:
            default = {"type": "object"} if self.object_only else {}
            return translate(default | json.loads(self.text), prefix)
        except UnsupportedSchema as error:
            raise invalid(self.param, str(error)) from None
        except RecursionError:
            raise invalid(self.param, f"Schema #: nested deeper than {MAX_DEPTH}.") from None

    def error(self, library_error: str, pointers: dict[str, list[str]]) -> ChatError:
        """Returns the request's error for an error of the grammar library. `pointers` are those of each keyword."""
        location, text = _location(library_error, pointers), library_error.removesuffix(_NO_DETAILS).strip()
        return invalid(self.param, f"Schema {location}: {safe_repr(text)}.")


def _location(library_error: str, pointers: dict[str, list[str]]) -> str:
    """Returns the keywords that may have caused an error of the library, with their pointers."""
    for part, keywords in _KEYWORDS_BY_ERROR.items():
        locations = [f"'{keyword}' at {pointer}" for keyword in keywords for pointer in pointers.get(keyword, [])]
        if part in library_error and locations:
            return " or ".join(locations[:3])
    return "#"


MAX_BYTES = 256 << 10
MAX_DEPTH = 64


def checked(text: str, param: str) -> str:
    """Returns a schema's text after checking it: a JSON object within the limits, without duplicate names.

    Raises:
        ChatError: 400, names `param`.
    """
    if len(text.encode()) > MAX_BYTES:
        raise invalid(param, f"A schema takes at most {MAX_BYTES} bytes, got {len(text.encode())}.")
    if _deeper_than(text, MAX_DEPTH):
        raise invalid(param, f"A schema is nested at most {MAX_DEPTH} deep.")
    try:
        schema = json.loads(text, parse_constant=reject_constant, object_pairs_hook=_members)
    except (ValueError, RecursionError) as error:
        raise invalid(param, f"Expected a JSON Schema as JSON text: {safe_repr(str(error))}.") from None
    if not isinstance(schema, dict):
        raise invalid(param, f"Expected a JSON Schema object, got {safe_repr(schema)}.")
    return text


def _deeper_than(text: str, limit: int) -> bool:
    """Returns whether brackets outside strings nest deeper than `limit`. Invalid JSON fails in a later check."""
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
