"""Determines the JSON type of a value, and the JSON types that a translated schema allows."""

from __future__ import annotations

from typing import Any

from jaxchat.chat.grammar.json_schema.keywords import TYPES, Schema

ALL_KINDS = frozenset(TYPES)
_PYTHON_TYPES = ((bool, "boolean"), (int | float, "number"), (str, "string"), (list, "array"), (dict, "object"))


def kinds(schema: Schema | bool, definitions: Schema, known: dict[str, frozenset[str]] | None = None) -> frozenset[str]:
    """Returns the JSON types that a translated schema allows. Integers are of type "number".

    The result may contain types that the schema does not allow, but no allowed type is missing.

    Args:
        schema: the translated schema.
        definitions: the targets of references, by name.
        known: the types of the definitions that were read before, by name. This call adds the definitions that it
            reads. None for an empty dict.
    """
    if isinstance(schema, bool):
        return ALL_KINDS if schema else frozenset()
    known = {} if known is None else known
    result = ALL_KINDS
    if "type" in schema:
        types = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
        result &= {"number" if name == "integer" else name for name in types}
    for values in ([schema["const"]] if "const" in schema else None, schema.get("enum")):
        if values is not None:
            result &= {kind_of(value) for value in values}
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        if name not in known:
            known[name] = ALL_KINDS  # for references that lead back to it
            known[name] = kinds(definitions[name], definitions, known)
        result &= known[name]
    for part in schema.get("allOf", []):
        result &= kinds(part, definitions, known)
    for keyword in ("anyOf", "oneOf"):
        if keyword in schema:
            result &= frozenset().union(*(kinds(part, definitions, known) for part in schema[keyword]))
    return result


def kind_of(value: Any) -> str:
    """Returns the JSON type of a value. Integers are of type "number"."""
    return next((name for python_type, name in _PYTHON_TYPES if isinstance(value, python_type)), "null")


def equal(a: Any, b: Any) -> bool:
    """Returns whether two JSON values are equal. 1 equals 1.0; 1 does not equal `true`."""
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(equal, a, b))
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(equal(value, b[name]) for name, value in a.items())
    return kind_of(a) == kind_of(b) and bool(a == b)
