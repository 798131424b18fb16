"""Checks and translates one schema of a request."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from jaxchat.chat.grammar.json_schema.keywords import UnsupportedSchema
from jaxchat.chat.grammar.json_schema.translate import translate
from jaxchat.chat.request.schema_text import SchemaText, deeper_than, parse_schema
from jaxchat.errors import ChatError, invalid, safe_repr

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
    """A schema with the request field that errors name. `object_only` restricts the schema to objects."""

    schema: SchemaText
    param: str
    object_only: bool = False

    @property
    def text(self) -> str:
        """The schema as it was written."""
        return self.schema.text

    @property
    def known_to_compile(self) -> bool:
        """Whether the schema needs no probe."""
        return self.text in _KNOWN_TO_COMPILE

    def translated(self, prefix: str = "") -> tuple[dict[str, Any], dict[str, list[str]]]:
        """Returns the result of `translate` for the schema.

        Raises:
            ChatError: 400 if the schema cannot be enforced. The error names the field, the keyword and its JSON
                pointer.
        """
        try:
            default = {"type": "object"} if self.object_only else {}
            return translate(default | self.schema.value, prefix)
        except UnsupportedSchema as error:
            raise invalid(self.param, str(error)) from None
        except RecursionError:
            raise invalid(self.param, f"Schema #: nested deeper than {MAX_DEPTH}.") from None

    def error(self, library_error: str, pointers: dict[str, list[str]]) -> ChatError:
        """Returns the 400 for an error of the grammar library.

        Args:
            library_error: the library's message.
            pointers: the JSON pointers of each keyword, as `translated` returns them.
        """
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


def check_limits(text: str, param: str) -> None:
    """Checks the size and the nesting of a schema.

    Raises:
        ChatError: 400 on `param` if the text has more than 256 KiB, or is nested more than 64 deep.
    """
    if len(text.encode()) > MAX_BYTES:
        raise invalid(param, f"A schema takes at most {MAX_BYTES} bytes, got {len(text.encode())}.")
    if deeper_than(text, MAX_DEPTH):
        raise invalid(param, f"A schema is nested at most {MAX_DEPTH} deep.")


def request_schema(schema: SchemaText, param: str, *, object_only: bool = False) -> SchemaSource:
    """Returns the source for a request's schema."""
    return SchemaSource(schema, param, object_only)


def known_schema(text: str, param: str, *, object_only: bool = False) -> SchemaSource:
    """Returns the source for a built-in schema, used where the request gives none."""
    return SchemaSource(parse_schema(text, param), param, object_only)
