"""One schema of a request."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from jaxchat.chat.grammar.json_schema.keywords import UnsupportedSchema
from jaxchat.chat.grammar.json_schema.translate import translate
from jaxchat.errors import ChatError, invalid, reject_constant, safe_repr

ANY_OBJECT, ANY_VALUE, EMPTY_OBJECT = '{"type": "object"}', "{}", '{"type": "object", "additionalProperties": false}'
_HARMLESS = (ANY_OBJECT, ANY_VALUE, EMPTY_OBJECT)
_NO_DETAILS = "<non-verbose/>"
_BLAME = {  # what the library's errors are about
    "oneOf": ("oneOf",),
    "Properties": ("minProperties", "maxProperties"),
    "attern propert": ("patternProperties",),
    "regex": ("pattern", "patternProperties"),
    "lookaround": ("pattern", "patternProperties"),
    "circular": ("$ref",),
}


@dataclass(frozen=True)
class SchemaSource:
    """The text of a schema and the field that has it; `object_only` says that only objects are meant."""

    text: str
    param: str
    object_only: bool = False

    @property
    def harmless(self) -> bool:
        """Known to compile."""
        return self.text in _HARMLESS

    def translated(self, prefix: str = "") -> tuple[dict[str, Any], dict[str, list[str]]]:
        """As `translate`. Raises `ChatError` that names the field, the keyword and its pointer."""
        try:
            default = {"type": "object"} if self.object_only else {}
            return translate(default | json.loads(self.text), prefix)
        except UnsupportedSchema as refusal:
            raise invalid(self.param, str(refusal)) from None
        except RecursionError:
            raise invalid(self.param, f"Schema #: nested deeper than {MAX_DEPTH}.") from None

    def refused(self, error: str, places: dict[str, list[str]]) -> ChatError:
        """What the grammar library's error means for the request."""
        return invalid(
            self.param, f"Schema {_blame(error, places)}: {safe_repr(error.removesuffix(_NO_DETAILS).strip())}."
        )


def _blame(error: str, places: dict[str, list[str]]) -> str:
    """The keywords that an error of the library can be about."""
    for sign, names in _BLAME.items():
        found = [f"'{name}' at {place}" for name in names for place in places.get(name, [])]
        if sign in error and found:
            return " or ".join(found[:3])
    return "#"


MAX_BYTES = 256 << 10
MAX_DEPTH = 64


def checked(text: str, param: str) -> str:
    """A schema's text when it is a JSON object within the limits, no name twice. Raises `ChatError` naming `param`."""
    if len(text.encode()) > MAX_BYTES:
        raise invalid(param, f"A schema takes at most {MAX_BYTES} bytes, got {len(text.encode())}.")
    if _deeper(text, MAX_DEPTH):
        raise invalid(param, f"A schema is nested at most {MAX_DEPTH} deep.")
    try:
        schema = json.loads(text, parse_constant=reject_constant, object_pairs_hook=_members)
    except (ValueError, RecursionError) as error:
        raise invalid(param, f"Expected a JSON Schema as JSON text: {safe_repr(str(error))}.") from None
    if not isinstance(schema, dict):
        raise invalid(param, f"Expected a JSON Schema object, got {safe_repr(schema)}.")
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
