"""Checks and translates one schema of a request."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from jaxchat.chat.grammar.json_schema.keywords import UnsupportedSchema, located
from jaxchat.chat.grammar.json_schema.translate import translate
from jaxchat.chat.grammar.probe import NO_VALUE
from jaxchat.chat.request.schema_text import SchemaText, deeper_than, parse_schema
from jaxchat.errors import ChatError, invalid_schema

ANY_OBJECT, ANY_VALUE, EMPTY_OBJECT = '{"type": "object"}', "{}", '{"type": "object", "additionalProperties": false}'
_KNOWN_TO_COMPILE = (ANY_OBJECT, ANY_VALUE, EMPTY_OBJECT)
_KEYWORDS_BY_ERROR = {  # parts of the library's errors, and the keywords that can cause them
    "Properties": ("minProperties", "maxProperties"),
    "not disjoint": ("patternProperties",),
    "regex": ("pattern", "patternProperties", "format"),
    "lookaround": ("pattern", "patternProperties"),
    "circular": ("$ref",),
    "multipleOf": ("multipleOf",),
}
_PLAIN_ERRORS = {  # parts of the library's errors, and what they mean to a client
    "nsatisfiable": NO_VALUE,
    NO_VALUE: NO_VALUE,
    "is empty": NO_VALUE,
    "regex parse error": "a pattern is not a valid regular expression",
    "lookaround": "lookaround in a pattern is not supported",
    "min/maxProperties": "the number of members is supported only where all declared ones are required",
    "not disjoint": "patterns of patternProperties that match the same name are not supported",
    "circular": "a reference that leads back to itself is not supported beside other keywords",
    "multipleOf": "multipleOf has too many digits",
    "memory": "compiling it takes too much memory",
}


@dataclass(frozen=True)
class SchemaSource:
    """A schema, and the request field that is named in errors about it.

    Attributes:
        schema: the schema as text and as a value.
        param: the name of the request field.
        object_only: whether only objects may satisfy the schema.
        strict: whether unknown keywords are errors.
    """

    schema: SchemaText
    param: str
    object_only: bool = False
    strict: bool = False

    @property
    def text(self) -> str:
        """The schema as it was written."""
        return self.schema.text

    @property
    def known_to_compile(self) -> bool:
        """Whether the schema is one that certainly compiles. It is then not probed."""
        return self.text in _KNOWN_TO_COMPILE

    def translated(self, prefix: str = "") -> tuple[dict[str, Any], dict[str, list[str]]]:
        """Returns the translated schema, and a dict with the JSON pointers of each keyword in the schema.

        Args:
            prefix: the beginning of the names of definitions in the result.

        Raises:
            ChatError: 400 if the schema cannot be enforced. The error names the field, the JSON pointer and, if there
                is one, the keyword at fault.
        """
        try:
            default = {"type": "object"} if self.object_only else {}
            return translate(default | self.schema.value, prefix, strict=self.strict)
        except UnsupportedSchema as error:
            raise invalid_schema(self.param, str(error)) from None
        except RecursionError:
            raise invalid_schema(self.param, "#: references or subschemas are nested too deep.") from None

    def error(self, library_error: str, pointers: dict[str, list[str]]) -> ChatError:
        """Returns the error 400 that a client gets for an error of the grammar library.

        Args:
            library_error: the library's message.
            pointers: the JSON pointers of each keyword, as `translated` returns them.
        """
        return invalid_schema(self.param, f"{_location(library_error, pointers)}: {plain_error(library_error)}.")


def plain_error(library_error: str) -> str:
    """Returns an error of the grammar library in words that do not name its internals."""
    known = (text for part, text in _PLAIN_ERRORS.items() if part in library_error)
    return next(known, "the schema is too large or too complex")


def _location(library_error: str, pointers: dict[str, list[str]]) -> str:
    """Returns the keywords that may have caused an error of the library, with their pointers.

    If no such keyword is known, returns "#", the pointer of the root.
    """
    for part, keywords in _KEYWORDS_BY_ERROR.items():
        locations = [(pointer, keyword) for keyword in keywords for pointer in pointers.get(keyword, [])]
        if part in library_error and locations:
            return " or ".join(located(*location, limit=50) for location in locations[:3])
    return "#"


MAX_BYTES = 256 << 10
MAX_DEPTH = 64


def check_limits(text: str, param: str) -> None:
    """Checks the size and the nesting of a schema.

    Raises:
        ChatError: 400 on `param` if the text has more than 256 KiB, or is nested more than 64 deep.
    """
    if len(text.encode()) > MAX_BYTES:
        raise invalid_schema(param, f"expected at most {MAX_BYTES} bytes, got {len(text.encode())}.")
    if deeper_than(text, MAX_DEPTH):
        raise invalid_schema(param, f"expected at most {MAX_DEPTH} levels of nesting.")


def request_schema(schema: SchemaText, param: str, *, object_only: bool = False, strict: bool = False) -> SchemaSource:
    """Returns the source for a request's schema. The arguments are the fields of `SchemaSource`."""
    return SchemaSource(schema, param, object_only, strict)


def known_schema(text: str, param: str, *, object_only: bool = False) -> SchemaSource:
    """Returns the source for a built-in schema. Such a schema is used where the request does not give one.

    Args:
        text: the schema as JSON text.
        param: the request field that is named in errors.
        object_only: whether only objects may satisfy the schema.
    """
    return SchemaSource(parse_schema(text, param), param, object_only)
