"""Translates the keywords for objects of a JSON Schema for the grammar library.

The library may escape characters in the names of undeclared properties, which can hide a declared name (`"\\u0061"` for
`"a"`). Undeclared properties are therefore always described by a pattern, which the library applies to the unescaped
name.
"""

from __future__ import annotations

import math
from itertools import combinations, permutations
from typing import Any

from jaxchat.chat.grammar.json_schema import keywords
from jaxchat.chat.grammar.json_schema.document import Document
from jaxchat.chat.grammar.json_schema.keywords import TYPES, Schema, TranslatePart, UnsupportedSchema, child_pointer
from jaxchat.chat.grammar.json_schema.names import restricted_names
from jaxchat.chat.grammar.json_schema.patterns import all_but, rewrite
from jaxchat.chat.grammar.json_schema.values import pattern

MAX_NAME = 200  # characters of a declared name if undeclared members are allowed too
MAX_COMBINATIONS = 64  # sets of members that `minProperties` and `maxProperties` allow


def translate_object(
    translate_part: TranslatePart, document: Document, schema: dict[str, Any], pointer: str, *, merging: bool
) -> dict[str, Any]:
    """Translates the properties of an object, their names and their number.

    Args:
        translate_part: translates a subschema.
        document: the whole document.
        schema: a schema of the request.
        pointer: the JSON pointer of `schema`.
        merging: whether `schema` is intersected with other schemas. If so, the caller excludes undeclared properties.

    Raises:
        UnsupportedSchema: a keyword cannot be enforced.
    """
    schema = restricted_names(document, schema, pointer, merging=merging)
    if not keywords.OBJECT & schema.keys():
        return {}
    required = _required(schema, pointer)
    declared = keywords.table(schema.get("properties", {}), pointer, "properties")
    members = {
        name: translate_part(part, child_pointer(pointer, "properties", name)) for name, part in declared.items()
    }
    other_members = schema.get("additionalProperties")
    if other_members is not None:
        other_members = translate_part(other_members, child_pointer(pointer, "additionalProperties"))
    result: dict[str, Any] = {"required": required} if required else {}
    if merging:
        return result | _counts(schema, pointer, required) | _open(schema, pointer, members, other_members)
    members |= {name: True if other_members is None else other_members for name in required if name not in members}
    if members:
        result["properties"] = members
    if "patternProperties" in schema:
        result |= _by_pattern(translate_part, schema, pointer, members)
    else:
        closed = "properties" in schema and other_members is None
        result |= _other_members(members, False if closed else other_members, pointer)
    return _counted(result, _counts(schema, pointer, required), pointer)


def _required(schema: dict[str, Any], pointer: str) -> list[str]:
    names = schema.get("required", [])
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise UnsupportedSchema(child_pointer(pointer, "required"), "expected a list of names.", "required")
    return list(dict.fromkeys(names))


def _counts(schema: dict[str, Any], pointer: str, required: list[str]) -> dict[str, Any]:
    """Returns `minProperties` and `maxProperties`, without a `minProperties` that `required` implies."""
    result: dict[str, Any] = {
        keyword: keywords.count(schema[keyword], pointer, keyword, keywords.MAX_COUNT)
        for keyword in ("minProperties", "maxProperties")
        if keyword in schema
    }
    if result.get("minProperties", 0) <= len(required):
        result.pop("minProperties", None)
    return result


def _counted(result: dict[str, Any], counts: dict[str, Any], pointer: str) -> dict[str, Any]:
    """Adds limits on the number of members to a translated object.

    If undeclared members are excluded, the result is a union of schemas, which together allow all combinations of
    members that meet the limits. Otherwise the grammar library itself counts the members. This is supported only if all
    declared members are required and `minProperties` is at most 1, because a repeated name would count twice.

    Raises:
        UnsupportedSchema: no combination of members meets the limits, there are too many combinations, or the library
            cannot count the members.
    """
    if not counts:
        return result
    location = child_pointer(pointer, next(iter(counts)))
    required, members = result.get("required", []), result.get("properties", {})
    optional = [name for name, part in members.items() if name not in required and part is not False]
    closed = result.get("additionalProperties") is False and "patternProperties" not in result
    low = counts.get("minProperties", 0) - len(required)
    high = counts.get("maxProperties", len(required) + len(optional)) - len(required)
    if not closed:
        if optional or counts.get("minProperties", 0) > 1:
            reason = "supported beside undeclared members only for one member, and only if all declared are required."
            raise UnsupportedSchema(location, reason, next(iter(counts)))
        return result | counts
    if high < 0 or low > min(high, len(optional)):
        raise UnsupportedSchema(location, "no object can have this number of members.", next(iter(counts)))
    combined = math.comb(len(optional), min(high, len(optional))) * math.comb(min(high, len(optional)), max(low, 0))
    if combined > MAX_COMBINATIONS:
        reason = f"{combined} combinations of members, more than {MAX_COMBINATIONS}."
        raise UnsupportedSchema(location, reason, next(iter(counts)))
    options = [
        result | {"properties": {name: part for name, part in members.items() if name in {*required, *chosen}}} | needed
        for chosen in combinations(optional, min(high, len(optional)))
        for extra in combinations(chosen, max(low, 0))
        for needed in ({"required": [*required, *extra]},)
    ]
    others = [name for name in TYPES if name != "object"]
    return {"allOf": [{"anyOf": [{"type": others}, *({"type": ["object"]} | option for option in options)]}]}


def _open(schema: dict[str, Any], pointer: str, members: dict[str, Any], other_members: Any) -> dict[str, Any]:
    if "patternProperties" in schema:
        location = child_pointer(pointer, "patternProperties")
        raise UnsupportedSchema(
            location, "not supported together with allOf, anyOf, oneOf or $ref.", "patternProperties"
        )
    result = {"properties": members} if members else {}
    return result if other_members is None else result | {"additionalProperties": other_members}


def _by_pattern(
    translate_part: TranslatePart, schema: dict[str, Any], pointer: str, members: dict[str, Any]
) -> dict[str, Any]:
    patterns = keywords.table(schema["patternProperties"], pointer, "patternProperties")
    if any(char < " " or char == "\x7f" for name in members for char in name):
        location = child_pointer(pointer, "patternProperties")
        raise UnsupportedSchema(
            location, "not supported together with names that have control characters.", "patternProperties"
        )
    if schema.get("additionalProperties", False) is not False and members.keys() - schema.get("properties", {}).keys():
        location = child_pointer(pointer, "required")
        raise UnsupportedSchema(
            location, "with patternProperties, required names must be among the properties.", "required"
        )
    parts = {}
    for text, part in patterns.items():
        location = child_pointer(pointer, "patternProperties", text)
        parts[pattern(text, location, "patternProperties")] = translate_part(part, location)
    return {"patternProperties": parts, "additionalProperties": False}


def _other_members(members: dict[str, Any], other_members: Any, pointer: str) -> dict[str, Any]:
    if not members:
        return {} if other_members is None else {"additionalProperties": other_members}
    if other_members is None or other_members is False:
        return {"additionalProperties": False}
    if any(len(name) > MAX_NAME for name in members):
        location = child_pointer(pointer, "additionalProperties")
        raise UnsupportedSchema(
            location, f"not supported together with names of more than {MAX_NAME} characters.", "additionalProperties"
        )
    return {"patternProperties": {rewrite(all_but(list(members))): other_members}, "additionalProperties": False}


MAX_REORDERED = 4  # arguments of one function; they have 24 orders
_KNOWN = {"type", "properties", "required", "additionalProperties"}


def in_any_order(schema: Schema) -> Schema:
    """Returns an equivalent schema that allows 2 to 4 arguments in any order.

    Returns the schema unchanged if it has fewer or more arguments, or a keyword other than `type`, `properties`,
    `required` and `additionalProperties`.

    The grammar library allows the members of an object only in the order of the schema. Without this function, a model
    that has learned another order would have to follow the schema's order, and would fill in wrong values.
    """
    members = schema.get("properties", {})
    if not 2 <= len(members) <= MAX_REORDERED or schema.keys() - _KNOWN:
        return schema
    return {"anyOf": [schema | {"properties": dict(order)} for order in permutations(members.items())]}
