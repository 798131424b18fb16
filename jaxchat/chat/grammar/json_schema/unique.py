"""Lists all arrays of distinct items, for `uniqueItems`. The items must have few possible values."""

from __future__ import annotations

from itertools import combinations, permutations
from typing import Any

from jaxchat.chat.grammar.json_schema import keywords
from jaxchat.chat.grammar.json_schema.document import Document
from jaxchat.chat.grammar.json_schema.keywords import Schema, UnsupportedSchema, child_pointer
from jaxchat.chat.grammar.json_schema.kinds import equal, kind_of

MAX_ANY_ORDER = 4  # values of which every order is allowed: 65 arrays
MAX_VALUES = 8  # values in the order of the schema: 256 arrays
_DEPTH = 8
_FINITE = {"type", "const", "enum", "minimum", "maximum", "$ref", "anyOf"}


def distinct_arrays(document: Document, schema: Schema, pointer: str) -> list[list[Any]]:
    """Returns the arrays of distinct items that satisfy a schema with `uniqueItems`.

    If the items have at most 4 possible values, the result has arrays in every order of these values. If the items have
    5 to 8 possible values, the result only has arrays in the order in which the schema lists the values.

    Raises:
        UnsupportedSchema: the items have more than 8 possible values, are not described by `items` alone, or have a
            reference without target.
    """
    values = None if "prefixItems" in schema else finite_values(document, schema.get("items", True))
    if values is None or len(values) > MAX_VALUES:
        raise UnsupportedSchema(
            child_pointer(pointer, "uniqueItems"),
            f"supported only where items have at most {MAX_VALUES} values (enum, const, boolean, small ranges).",
            "uniqueItems",
        )
    most = min(schema.get("maxItems", len(values)), len(values))
    arranged = permutations if len(values) <= MAX_ANY_ORDER else combinations
    return [list(items) for size in range(schema.get("minItems", 0), most + 1) for items in arranged(values, size)]


def finite_values(document: Document, schema: Any, depth: int = 0) -> list[Any] | None:
    """Returns all values that a schema allows, without repetition, or None if they are unlimited or unknown.

    Args:
        document: the whole document.
        schema: a schema in the document, before translation.
        depth: number of references and subschemas on the way to `schema`.

    Raises:
        UnsupportedSchema: a reference has no target, or the document takes too many comparisons.
    """
    document.count_step("#")
    if schema is False:
        return []
    if not isinstance(schema, dict) or schema.keys() & keywords.ASSERTING - _FINITE or depth > _DEPTH:
        return None
    choices = [keyword for keyword in ("const", "enum", "$ref", "anyOf") if keyword in schema]
    if len(choices) > 1 or (choices and schema.keys() & {"minimum", "maximum"}):
        return None
    types = schema.get("type")
    if not choices:
        return _of_type(schema, types)
    values = _listed(document, schema, choices[0], depth)
    if values is None or types is None:
        return values
    names = types if isinstance(types, list) else [types]
    return [value for value in values if kind_of(value) in names or (type(value) is int and "integer" in names)]


def _listed(document: Document, schema: Schema, keyword: str, depth: int) -> list[Any] | None:
    if keyword == "const":
        return [schema["const"]]
    if keyword == "$ref":
        return finite_values(document, document.resolve(schema["$ref"], "#")[1], depth + 1)
    items = schema[keyword] if isinstance(schema[keyword], list) else []
    lists = [[item] if keyword == "enum" else finite_values(document, item, depth + 1) for item in items]
    result: list[Any] = []
    for values in lists:
        if values is None:
            return None
        result += [value for value in values if not any(equal(value, known) for known in result)]
    return result


def _of_type(schema: Schema, types: Any) -> list[Any] | None:
    if types == "boolean":
        return [False, True]
    if types == "null":
        return [None]
    low, high = schema.get("minimum"), schema.get("maximum")
    if types == "integer" and type(low) is int and type(high) is int and high - low < MAX_VALUES:
        return list(range(low, high + 1))
    return None
