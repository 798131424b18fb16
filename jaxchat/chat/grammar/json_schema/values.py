"""Translates the keywords for numbers, strings and arrays of a JSON Schema for the grammar library.

The functions raise `UnsupportedSchema` for a value that cannot be enforced.
"""

from __future__ import annotations

from typing import Any

from jaxchat.chat.grammar.json_schema import formats, keywords
from jaxchat.chat.grammar.json_schema.keywords import TranslatePart, UnsupportedSchema, child_pointer
from jaxchat.chat.grammar.json_schema.patterns import rewrite

_MULTIPLES = (0.001, 1_000_000)


def translate_number(schema: dict[str, Any], pointer: str) -> dict[str, Any]:
    """Translates the bounds of a number and `multipleOf`."""
    result = {}
    for keyword in keywords.NUMBER & schema.keys():
        value = result[keyword] = keywords.number(schema[keyword], pointer, keyword)
        if keyword == "multipleOf" and not _MULTIPLES[0] <= value <= _MULTIPLES[1]:
            low, high = _MULTIPLES
            raise UnsupportedSchema(
                child_pointer(pointer, keyword), f"expected a number from {low} to {high}.", keyword
            )
    return result


def translate_string(schema: dict[str, Any], pointer: str) -> dict[str, Any]:
    """Translates the length, pattern and format of a string."""
    result: dict[str, Any] = {
        keyword: keywords.count(schema[keyword], pointer, keyword, keywords.MAX_LENGTH)
        for keyword in ("minLength", "maxLength")
        if keyword in schema
    }
    if "pattern" in schema:
        result["pattern"] = pattern(schema["pattern"], child_pointer(pointer, "pattern"), "pattern")
    if "format" in schema:
        _format(schema["format"], pointer, result)
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


def _format(name: Any, pointer: str, result: dict[str, Any]) -> None:
    location = child_pointer(pointer, "format")
    if not isinstance(name, str) or (name not in formats.PATTERNS and name not in formats.NATIVE):
        known = ", ".join(sorted({*formats.PATTERNS, *formats.NATIVE}))
        raise UnsupportedSchema(location, f"only these formats are supported: {known}.", "format")
    if name in formats.LONGEST:
        result["maxLength"] = min(result.get("maxLength", formats.LONGEST[name]), formats.LONGEST[name])
    if name in formats.NATIVE:
        result["format"] = name
    elif "pattern" in result:
        result["allOf"] = [{"pattern": formats.PATTERNS[name]}]
    else:
        result["pattern"] = formats.PATTERNS[name]


def translate_array(translate_part: TranslatePart, schema: dict[str, Any], pointer: str) -> dict[str, Any]:
    """Translates the items of an array and their number."""
    result: dict[str, Any] = {
        keyword: keywords.count(schema[keyword], pointer, keyword, keywords.MAX_COUNT)
        for keyword in ("minItems", "maxItems")
        if keyword in schema
    }
    if schema.get("uniqueItems", False) is not False and result.get("maxItems", 2) > 1:
        raise UnsupportedSchema(child_pointer(pointer, "uniqueItems"), "this keyword is not supported.", "uniqueItems")
    if "prefixItems" in schema:
        items = keywords.schemas(schema["prefixItems"], pointer, "prefixItems")
        result["prefixItems"] = [
            translate_part(item, child_pointer(pointer, "prefixItems", i)) for i, item in enumerate(items)
        ]
    if "items" in schema:
        result["items"] = translate_part(schema["items"], child_pointer(pointer, "items"))
    return result
