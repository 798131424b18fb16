"""Lists the keywords of JSON Schema 2020-12, of older drafts and of OpenAPI, and checks the values of keywords."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, TypeGuard

from jaxchat.errors import safe_text

Schema = dict[str, Any]

TYPES = ("null", "boolean", "number", "string", "array", "object")
APPLICATORS = frozenset({"allOf", "anyOf", "oneOf", "$ref"})
CONDITIONS = frozenset({"not", "if", "dependentRequired", "dependentSchemas"})
OBJECT = frozenset(
    {"properties", "patternProperties", "additionalProperties", "propertyNames", "required"}
    | {"minProperties", "maxProperties"}
)
ARRAY = frozenset({"items", "prefixItems", "minItems", "maxItems", "uniqueItems"})
NUMBER = frozenset({"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"})
STRING = frozenset({"minLength", "maxLength", "pattern", "format"})
ASSERTIONS = OBJECT | ARRAY | NUMBER | STRING | {"type", "const", "enum"}
ANNOTATIONS = frozenset(
    {"$schema", "$id", "id", "$comment", "$defs", "definitions", "$anchor", "$vocabulary", "title", "description"}
    | {"default", "example", "examples", "deprecated", "readOnly", "writeOnly", "discriminator", "externalDocs", "xml"}
    | {"contentMediaType", "contentEncoding", "contentSchema", "then", "else", "additionalItems"}
)  # `then`, `else` and `additionalItems` assert only beside `if` and a list of `items`
REFUSED = frozenset(
    {"contains", "minContains", "maxContains", "unevaluatedItems", "unevaluatedProperties"}
    | {"$dynamicRef", "$dynamicAnchor", "$recursiveRef", "$recursiveAnchor", "extends", "disallow", "divisibleBy"}
)
ASSERTING = ASSERTIONS | APPLICATORS | CONDITIONS | REFUSED
TranslatePart = Callable[[Any, str], dict[str, Any] | bool]
"""Translates the subschema at a JSON pointer."""
MAX_COUNT = 4096  # items and properties
MAX_LENGTH = 1_000_000  # characters of a string
MAX_NUMBER = 2**53  # larger integers are not exact in double precision
MIN_NUMBER = 1e-9  # a number closer to 0 has more decimals than answers may have


def check_keywords(schema: Schema, pointer: str, *, strict: bool = False) -> None:
    """Checks that all keywords can be enforced. Raises `UnsupportedSchema` for the first one that cannot be enforced.

    Args:
        schema: a schema without the keywords that `older_drafts.modern` replaces.
        pointer: JSON pointer of the schema.
        strict: whether unknown keywords are errors. Otherwise they are annotations.
    """
    for keyword in schema:
        if keyword in REFUSED:
            raise UnsupportedSchema(child_pointer(pointer, keyword), "this keyword is not supported.", keyword)
        if strict and keyword not in ASSERTING | ANNOTATIONS and not keyword.startswith("x-"):
            raise UnsupportedSchema(child_pointer(pointer, keyword), "unknown keyword with 'strict': true.", keyword)
    if "$id" in schema and pointer != "#":
        raise UnsupportedSchema(child_pointer(pointer, "$id"), "only the root may have an identifier.", "$id")


def count(value: Any, pointer: str, keyword: str, limit: int) -> int:
    """Returns `value` as an integer if it is a whole number from 0 to `limit`. Raises `UnsupportedSchema` otherwise."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= limit:
        raise UnsupportedSchema(child_pointer(pointer, keyword), f"expected a whole number from 0 to {limit}.", keyword)
    return value


def is_number(value: Any) -> TypeGuard[int | float]:
    """Returns whether a JSON value is a number within the range of double precision."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= sys.float_info.max


def number(value: Any, pointer: str, keyword: str) -> int | float:
    """Returns `value` if it is 0, or a number whose magnitude is from 1e-9 to 2**53.

    Raises:
        UnsupportedSchema: `value` is anything else.
    """
    if not is_number(value):
        raise UnsupportedSchema(child_pointer(pointer, keyword), "expected a number.", keyword)
    if abs(value) > MAX_NUMBER or 0 < abs(value) < MIN_NUMBER:
        raise UnsupportedSchema(
            child_pointer(pointer, keyword),
            f"numbers beyond 2^53, or closer to 0 than {MIN_NUMBER}, are not supported.",
            keyword,
        )
    return value


def types(value: Any, pointer: str) -> list[str]:
    """Returns the value of `type` as a list of names.

    Raises:
        UnsupportedSchema: `value` is neither the name of a type nor a list of such names.
    """
    names = value if isinstance(value, list) else [value]
    if not names or any(name not in (*TYPES, "integer") for name in names if isinstance(name, str)):
        raise UnsupportedSchema(child_pointer(pointer, "type"), "unknown type.", "type")
    if not all(isinstance(name, str) for name in names):
        raise UnsupportedSchema(child_pointer(pointer, "type"), "expected the name of a type, or several.", "type")
    return names


def literal(value: Any, pointer: str, keyword: str) -> None:
    """Checks a value of `const` or `enum`, and all values nested in it.

    Raises:
        UnsupportedSchema: a text has a lone surrogate, or `number` refuses a number.
    """
    if isinstance(value, dict):
        for name, item in value.items():
            literal(name, pointer, keyword)
            literal(item, pointer, keyword)
    elif isinstance(value, list):
        for item in value:
            literal(item, pointer, keyword)
    elif isinstance(value, str):
        if any("\ud800" <= char <= "\udfff" for char in value):
            raise UnsupportedSchema(child_pointer(pointer, keyword), "a lone surrogate is not valid text.", keyword)
    elif value is not None and not isinstance(value, bool):
        number(value, pointer, keyword)


def schemas(value: Any, pointer: str, keyword: str) -> list[Any]:
    """Returns `value` if it is a list with at least one item. Raises `UnsupportedSchema` otherwise."""
    if not isinstance(value, list) or not value:
        raise UnsupportedSchema(child_pointer(pointer, keyword), "expected a list with at least one item.", keyword)
    return value


def table(value: Any, pointer: str, keyword: str) -> dict[str, Any]:
    """Returns the value of a keyword that takes an object. Raises `UnsupportedSchema` if `value` is not an object."""
    if not isinstance(value, dict):
        raise UnsupportedSchema(child_pointer(pointer, keyword), "expected an object of schemas.", keyword)
    return value


class UnsupportedSchema(Exception):
    """An error for a schema that cannot be enforced.

    Its message contains the JSON pointer of the part at fault, such as `#/properties/a`, and the keyword at fault if
    there is one. Long pointers are shortened in the middle.

    Args:
        pointer: JSON pointer of the part at fault.
        reason: a sentence that says why this part is not supported.
        keyword: the keyword at fault; None if the fault does not lie with a single keyword.
    """

    def __init__(self, pointer: str, reason: str, keyword: str | None = None) -> None:
        self.pointer = pointer
        self.keyword = keyword
        self.reason = reason
        super().__init__(f"{located(pointer, keyword)}: {reason}")


def located(pointer: str, keyword: str | None = None, *, limit: int = 100) -> str:
    """Returns a keyword and its JSON pointer for a message. The pointer has at most `limit` characters."""
    pointer = safe_text(pointer, limit)
    return f"'{safe_text(keyword, 30)}' at {pointer}" if keyword else pointer


def child_pointer(pointer: str, *steps: str | int) -> str:
    """Returns `pointer`, extended by `steps` in the escaped form of JSON pointers."""
    return "".join([pointer, *("/" + str(step).replace("~", "~0").replace("/", "~1") for step in steps)])
