"""Checks values against schemas. The check may reject a valid value, but does not accept an invalid one."""

from __future__ import annotations

from typing import Any

from jaxchat.chat.grammar.json_schema.keywords import Schema
from jaxchat.chat.grammar.json_schema.kinds import kind_of

_TYPES = {"type", "const", "enum", "$ref", "$defs", "allOf", "anyOf"}
_NUMBERS = {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"}
_PARTS = {"items", "minItems", "maxItems", "properties", "required", "additionalProperties"}
_TEXT = frozenset({"minLength", "maxLength", "pattern", "format"})
_KNOWN = _TYPES | _NUMBERS | _PARTS | _TEXT
_DEPTH = 64


def is_valid(value: Any, schema: Schema | bool, definitions: Schema, depth: int = 0) -> bool:
    """Returns whether a JSON value certainly follows a translated schema. False may also mean that it is unknown.

    Args:
        value: the value.
        schema: the translated schema.
        definitions: the targets of references, by name.
        depth: number of schemas around `schema`. If there are more than 64, returns False.
    """
    if isinstance(schema, bool):
        return schema
    if schema.keys() - _KNOWN or depth > _DEPTH or (isinstance(value, str) and _TEXT & schema.keys()):
        return False

    def valid(part: Any, schema: Schema | bool) -> bool:
        return is_valid(part, schema, definitions, depth + 1)

    parts = [*schema.get("allOf", [])]
    if "$ref" in schema:
        parts.append(definitions[schema["$ref"].rpartition("/")[2]])
    return (
        _typed(value, schema)
        and all(valid(value, part) for part in parts)
        and ("anyOf" not in schema or any(valid(value, part) for part in schema["anyOf"]))
        and (not isinstance(value, list) or _length(value, schema))
        and (not isinstance(value, list) or all(valid(item, schema.get("items", True)) for item in value))
        and (not isinstance(value, dict) or {*schema.get("required", [])} <= value.keys())
        and (not isinstance(value, dict) or all(valid(item, _member(schema, name)) for name, item in value.items()))
    )


def _typed(value: Any, schema: Schema) -> bool:
    if "const" in schema and not _equal(value, schema["const"]):
        return False
    if "enum" in schema and not any(_equal(value, other) for other in schema["enum"]):
        return False
    if "type" in schema:
        types = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
        if kind_of(value) not in types and not ("integer" in types and type(value) is int):
            return False
    return kind_of(value) != "number" or _bounded(value, schema)


def _equal(value: Any, other: Any) -> bool:
    return kind_of(value) == kind_of(other) and bool(value == other) and not isinstance(value, list | dict)


def _bounded(value: float, schema: Schema) -> bool:
    return bool(
        schema.get("minimum", value) <= value <= schema.get("maximum", value)
        and ("exclusiveMinimum" not in schema or value > schema["exclusiveMinimum"])
        and ("exclusiveMaximum" not in schema or value < schema["exclusiveMaximum"])
    )


def _length(value: list[Any], schema: Schema) -> bool:
    return bool(schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", len(value)))


def _member(schema: Schema, name: str) -> Schema | bool:
    result: Schema | bool = schema.get("properties", {}).get(name, schema.get("additionalProperties", True))
    return result
