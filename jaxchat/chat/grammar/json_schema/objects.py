"""Objects of a JSON Schema, for the grammar library.

The library spells the names of undeclared members in ways that can hide a declared name (`"\\u0061"` for `"a"`), so
undeclared members are always described by a pattern, which it applies to the name that is meant.
"""

from __future__ import annotations

from itertools import permutations
from typing import TYPE_CHECKING, Any

from jaxchat.chat.grammar.json_schema import keywords
from jaxchat.chat.grammar.json_schema.keywords import UnsupportedSchema, below
from jaxchat.chat.grammar.json_schema.patterns import all_but
from jaxchat.chat.grammar.json_schema.values import pattern

if TYPE_CHECKING:
    from jaxchat.chat.grammar.json_schema.translate import Translator

MAX_NAME = 200  # characters of a declared name beside undeclared ones


def translate_object(translator: Translator, schema: dict[str, Any], pointer: str, *, merging: bool) -> dict[str, Any]:
    """Members, their names and their number; `merging` leaves it to the caller to exclude undeclared members."""
    if not keywords.OBJECT & schema.keys():
        return {}
    required = _required(schema, pointer)
    result = _counts(schema, pointer, required)
    declared = keywords.table(schema.get("properties", {}), pointer, "properties")
    members = {name: translator.part(part, below(pointer, "properties", name)) for name, part in declared.items()}
    others = schema.get("additionalProperties")
    rest = None if others is None else translator.part(others, below(pointer, "additionalProperties"))
    if required:
        result["required"] = required
    if merging:
        return result | _open(schema, pointer, members, rest)
    members |= {name: True if rest is None else rest for name in required if name not in members}
    if members:
        result["properties"] = members
    if "patternProperties" in schema:
        return result | _by_pattern(translator, schema, pointer, members)
    return result | _rest(members, rest, pointer)


def _required(schema: dict[str, Any], pointer: str) -> list[str]:
    names = schema.get("required", [])
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise UnsupportedSchema(below(pointer, "required"), "expected a list of names.", "required")
    return list(dict.fromkeys(names))


def _counts(schema: dict[str, Any], pointer: str, required: list[str]) -> dict[str, Any]:
    """A name may come twice among undeclared members, so only one of them can be counted upon."""
    result: dict[str, Any] = {}
    for keyword in ("minProperties", "maxProperties"):
        if keyword in schema:
            result[keyword] = keywords.count(schema[keyword], pointer, keyword, keywords.MAX_COUNT)
    if result.get("minProperties", 0) <= len(required):
        result.pop("minProperties", None)
    elif result["minProperties"] > 1:
        at = below(pointer, "minProperties")
        raise UnsupportedSchema(at, "more than 1, and more than are required, is not supported.", "minProperties")
    return result


def _open(schema: dict[str, Any], pointer: str, members: dict[str, Any], rest: Any) -> dict[str, Any]:
    if "patternProperties" in schema:
        at = below(pointer, "patternProperties")
        raise UnsupportedSchema(at, "not supported together with allOf, anyOf, oneOf or $ref.", "patternProperties")
    result = {"properties": members} if members else {}
    return result if rest is None else result | {"additionalProperties": rest}


def _by_pattern(
    translator: Translator, schema: dict[str, Any], pointer: str, members: dict[str, Any]
) -> dict[str, Any]:
    found = keywords.table(schema["patternProperties"], pointer, "patternProperties")
    if any(char < " " or char == "\x7f" for name in members for char in name):
        at = below(pointer, "patternProperties")
        raise UnsupportedSchema(at, "not supported beside names with control characters.", "patternProperties")
    if schema.get("additionalProperties", False) is not False and members.keys() - schema.get("properties", {}).keys():
        at = below(pointer, "required")
        raise UnsupportedSchema(at, "names beside patternProperties must be among the properties.", "required")
    parts = {}
    for text, part in found.items():
        at = below(pointer, "patternProperties", text)
        parts[pattern(text, at, "patternProperties")] = translator.part(part, at)
    return {"patternProperties": parts, "additionalProperties": False}


def _rest(members: dict[str, Any], rest: Any, pointer: str) -> dict[str, Any]:
    if not members:
        return {} if rest is None else {"additionalProperties": rest}
    if rest is None or rest is False:
        return {"additionalProperties": False}
    if any(len(name) > MAX_NAME for name in members):
        at = below(pointer, "additionalProperties")
        raise UnsupportedSchema(
            at, f"not supported beside names of more than {MAX_NAME} characters.", "additionalProperties"
        )
    return {"patternProperties": {all_but(list(members)): rest}, "additionalProperties": False}


Schema = dict[str, Any]

MOST_ORDERED = 4  # arguments of one function; their orders are 24
_KNOWN = {"type", "properties", "required", "additionalProperties"}


def in_any_order(schema: Schema) -> Schema:
    """Leaves the order of a few arguments to the model, which may have learned another than the declared one.

    The grammar library knows objects in one order only; a model that is forced into it fills in wrong values.
    """
    members = schema.get("properties", {})
    if not 2 <= len(members) <= MOST_ORDERED or schema.keys() - _KNOWN:
        return schema
    return {"anyOf": [schema | {"properties": dict(order)} for order in permutations(members.items())]}
