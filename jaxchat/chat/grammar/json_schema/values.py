"""Translates the keywords for numbers, strings and arrays of a JSON Schema for the grammar library.

The functions raise `UnsupportedSchema` for a value that cannot be enforced.
"""

from __future__ import annotations

import math
from typing import Any

from jaxchat.chat.grammar.json_schema import formats, keywords
from jaxchat.chat.grammar.json_schema.digits import LARGEST
from jaxchat.chat.grammar.json_schema.document import Document
from jaxchat.chat.grammar.json_schema.keywords import TranslatePart, UnsupportedSchema, child_pointer
from jaxchat.chat.grammar.json_schema.lookaheads import without_lookaheads
from jaxchat.chat.grammar.json_schema.patterns import rewrite
from jaxchat.chat.grammar.json_schema.unique import distinct_arrays

_MULTIPLES = (0.001, 1_000_000)


def translate_number(schema: dict[str, Any], pointer: str) -> dict[str, Any]:
    """Translates `multipleOf` and the bounds of a number.

    Args:
        schema: a schema of the request.
        pointer: the JSON pointer of `schema`.

    Raises:
        UnsupportedSchema: a keyword has an unsupported value.
    """
    result = {}
    for keyword in sorted(keywords.NUMBER & schema.keys()):
        if keyword == "multipleOf":
            result[keyword] = _multiple(schema[keyword], pointer)
        elif (bound := _bound(schema[keyword], pointer, keyword)) is not None:
            result[keyword] = bound
    return result


def _multiple(value: Any, pointer: str) -> int | float:
    step = keywords.number(value, pointer, "multipleOf")
    low, high = _MULTIPLES
    if not low <= step <= high:
        location = child_pointer(pointer, "multipleOf")
        raise UnsupportedSchema(location, f"expected a number from {low} to {high}.", "multipleOf")
    return step


def _bound(value: Any, pointer: str, keyword: str) -> int | float | None:
    """Returns a bound of a number, or None if the bound allows all numbers that an answer may contain.

    If double precision cannot represent the bound, returns the next stricter bound. Raises UnsupportedSchema for a
    value that `keywords.number` refuses, and for a bound of more than 17 digits that does not allow all numbers.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or abs(value) <= keywords.MAX_NUMBER:
        return keywords.number(value, pointer, keyword)
    lower = keyword in ("minimum", "exclusiveMinimum")
    if abs(value) >= LARGEST:
        if (value < 0) == lower:
            return None
        location = child_pointer(pointer, keyword)
        raise UnsupportedSchema(location, "numbers of more than 17 digits are not supported.", keyword)
    exact = float(value)
    if int(exact) != value and (exact < value) == lower:
        exact = math.nextafter(exact, math.inf if lower else -math.inf)
    return int(exact)


def translate_string(schema: dict[str, Any], pointer: str) -> dict[str, Any]:
    """Translates the length, pattern and format of a string.

    Args:
        schema: a schema of the request.
        pointer: the JSON pointer of `schema`.

    Raises:
        UnsupportedSchema: a keyword has an invalid or unsupported value.
    """
    result: dict[str, Any] = {
        keyword: keywords.count(schema[keyword], pointer, keyword, keywords.MAX_LENGTH)
        for keyword in ("minLength", "maxLength")
        if keyword in schema
    }
    if "pattern" in schema:
        result |= _patterns(schema["pattern"], child_pointer(pointer, "pattern"))
    if "format" in schema:
        _format(schema["format"], pointer, result, schema.get("pattern"))
    return result


def pattern(value: Any, pointer: str, keyword: str) -> str:
    """Returns `value` as a regular expression for the grammar library.

    Raises:
        UnsupportedSchema: `value` is not a string, or not a supported regular expression.
    """
    if not isinstance(value, str):
        raise UnsupportedSchema(pointer, "expected a regular expression.", keyword)
    try:
        return rewrite(value)
    except ValueError as error:
        raise UnsupportedSchema(pointer, f"{error}.", keyword) from None


def _patterns(value: Any, location: str) -> dict[str, Any]:
    """Translates a pattern. If it begins with lookaheads, the result is a `pattern` and an `allOf` of further patterns.

    Raises:
        UnsupportedSchema: the value is not a string, or not a supported regular expression.
    """
    try:
        first, *others = without_lookaheads(value) if isinstance(value, str) else [value]
    except ValueError as error:
        raise UnsupportedSchema(location, f"{error}.", "pattern") from None
    result: dict[str, Any] = {"pattern": pattern(first, location, "pattern")}
    if others:
        result["allOf"] = [{"pattern": pattern(other, location, "pattern")} for other in others]
    return result


def _format(name: Any, pointer: str, result: dict[str, Any], beside: Any) -> None:
    """Adds a format to `result` if it can be enforced. A format that cannot be enforced is an annotation.

    Also treats `time` and `date-time` as annotations if `beside`, the pattern in the same schema, describes the whole
    text. Some generators of schemas write such a pattern for times without a zone or without seconds.

    Raises:
        UnsupportedSchema: `name` is not a string.
    """
    if not isinstance(name, str):
        raise UnsupportedSchema(child_pointer(pointer, "format"), "expected the name of a format.", "format")
    if name in formats.TIMES and formats.is_whole(beside):
        return
    if name in formats.LONGEST:
        result["maxLength"] = min(result.get("maxLength", formats.LONGEST[name]), formats.LONGEST[name])
    if name in formats.NATIVE:
        result["format"] = name
    elif name in formats.PATTERNS and "pattern" in result:
        result["allOf"] = [*result.get("allOf", []), {"pattern": formats.PATTERNS[name]}]
    elif name in formats.PATTERNS:
        result["pattern"] = formats.PATTERNS[name]


def translate_array(
    translate_part: TranslatePart, document: Document, schema: dict[str, Any], pointer: str
) -> dict[str, Any]:
    """Translates the items of an array and their number.

    Args:
        translate_part: translates a subschema.
        document: the whole document.
        schema: a schema of the request.
        pointer: the JSON pointer of `schema`.

    Raises:
        UnsupportedSchema: a keyword or an item cannot be enforced.
    """
    result: dict[str, Any] = {
        keyword: keywords.count(schema[keyword], pointer, keyword, keywords.MAX_COUNT)
        for keyword in ("minItems", "maxItems")
        if keyword in schema
    }
    unique = schema.get("uniqueItems", False)
    if not isinstance(unique, bool):
        raise UnsupportedSchema(child_pointer(pointer, "uniqueItems"), "expected true or false.", "uniqueItems")
    if unique and result.get("maxItems", 2) > 1:
        arrays = distinct_arrays(document, schema | result, pointer)
        if "items" in schema:
            translate_part(schema["items"], child_pointer(pointer, "items"))  # reports errors
        return {
            "allOf": [{"anyOf": [{"type": [name for name in keywords.TYPES if name != "array"]}, {"enum": arrays}]}]
        }
    if "prefixItems" in schema:
        items = keywords.schemas(schema["prefixItems"], pointer, "prefixItems")
        result["prefixItems"] = [
            translate_part(item, child_pointer(pointer, "prefixItems", i)) for i, item in enumerate(items)
        ]
    if "items" in schema:
        result["items"] = translate_part(schema["items"], child_pointer(pointer, "items"))
    return result
