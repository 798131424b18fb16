"""Rewrites keywords of OpenAPI 3.0 and of older drafts of JSON Schema as keywords of JSON Schema 2020-12."""

from __future__ import annotations

from typing import Any

from jaxchat.chat.grammar.json_schema import keywords
from jaxchat.chat.grammar.json_schema.keywords import Schema, UnsupportedSchema, child_pointer

_REPLACED = frozenset({"nullable", "dependencies", "exclusiveMinimum", "exclusiveMaximum"})


def modern(schema: Schema, pointer: str) -> Schema:
    """Returns an equivalent schema without keywords of OpenAPI 3.0 and older drafts. Does not rewrite subschemas.

    Replaces `nullable` and `dependencies`. Also replaces `items` if its value is a list, and `exclusiveMinimum` and
    `exclusiveMaximum` if their values are booleans. Keeps `exclusiveMinimum: true` if `minimum` is missing, and
    `exclusiveMaximum: true` if `maximum` is missing: translation reports them as errors.

    Raises:
        UnsupportedSchema: one of these keywords has a value of the wrong type, or the schema has both `prefixItems` and
            a list as `items`.
    """
    if not (_REPLACED & schema.keys() or isinstance(schema.get("items"), list)):
        return schema
    result = dict(schema)
    _replace_tuple(result, pointer)
    _replace_dependencies(result, pointer)
    for bound, exclusive in (("minimum", "exclusiveMinimum"), ("maximum", "exclusiveMaximum")):
        _replace_exclusive(result, bound, exclusive)
    return _with_null(result, pointer) if "nullable" in result else result


def _replace_tuple(schema: Schema, pointer: str) -> None:
    if not isinstance(schema.get("items"), list):
        return
    if "prefixItems" in schema:
        raise UnsupportedSchema(child_pointer(pointer, "items"), "with prefixItems, expected a schema.", "items")
    prefix = schema.pop("items")
    if prefix:
        schema["prefixItems"] = prefix
    if "additionalItems" in schema:
        schema["items"] = schema.pop("additionalItems")


def _replace_dependencies(schema: Schema, pointer: str) -> None:
    if "dependencies" not in schema:
        return
    for name, part in keywords.table(schema.pop("dependencies"), pointer, "dependencies").items():
        target = "dependentRequired" if isinstance(part, list) else "dependentSchemas"
        schema[target] = {name: part} | keywords.table(schema.get(target, {}), pointer, target)


def _replace_exclusive(schema: Schema, bound: str, exclusive: str) -> None:
    """Rewrites a boolean exclusive bound, such as `exclusiveMinimum: true` with `minimum: 3`, as a number.

    If `exclusive` is true, it gets the value of `bound`, and `bound` is removed. If `exclusive` is true and `bound` is
    missing, the schema stays as it is, and `translate_number` refuses it. If `exclusive` is false, it is removed.
    """
    if schema.get(exclusive) is False:
        del schema[exclusive]
    elif schema.get(exclusive) is True and bound in schema:
        schema[exclusive] = schema.pop(bound)


def _with_null(schema: Schema, pointer: str) -> Schema:
    nullable: Any = schema.pop("nullable")
    if not isinstance(nullable, bool):
        raise UnsupportedSchema(child_pointer(pointer, "nullable"), "expected true or false.", "nullable")
    if not nullable:
        return schema
    annotations = {name: schema.pop(name) for name in schema.keys() & keywords.ANNOTATIONS - {"then", "else"}}
    return annotations | {"anyOf": [schema, {"type": "null"}]} if schema else annotations
