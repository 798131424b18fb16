"""One schema of a request."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from jaxchat.chat.grammar.given import MAX_DEPTH
from jaxchat.chat.grammar.refusal import Refusal
from jaxchat.chat.grammar.schema import translate
from jaxchat.errors import ChatError, invalid, shown

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
class Piece:
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
        except Refusal as refusal:
            raise invalid(self.param, str(refusal)) from None
        except RecursionError:
            raise invalid(self.param, f"Schema #: nested deeper than {MAX_DEPTH}.") from None

    def refused(self, error: str, places: dict[str, list[str]]) -> ChatError:
        """What the grammar library's error means for the request."""
        return invalid(self.param, f"Schema {_blame(error, places)}: {shown(error.removesuffix(_NO_DETAILS).strip())}.")


def _blame(error: str, places: dict[str, list[str]]) -> str:
    """The keywords that an error of the library can be about."""
    for sign, names in _BLAME.items():
        found = [f"'{name}' at {place}" for name in names for place in places.get(name, [])]
        if sign in error and found:
            return " or ".join(found[:3])
    return "#"
