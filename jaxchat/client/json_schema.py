"""Converts a JSON Schema to its strict form, as the `openai` package does with the schema of a pydantic model."""

from __future__ import annotations

from typing import Any

Schema = dict[str, Any]


def make_strict(schema: Schema) -> Schema:
    """Makes every property required, and forbids additional ones unless `additionalProperties` is set.

    Applies to all objects in `schema`. Changes `schema` in place and returns it.
    """
    return _strict(schema, schema)


def _strict(schema: Schema, root: Schema) -> Schema:
    for key in ("$defs", "definitions"):
        for definition in schema.get(key, {}).values():
            _strict(definition, root)
    if schema.get("type") == "object":
        schema.setdefault("additionalProperties", False)
    if "properties" in schema:
        schema["required"] = list(schema["properties"])
        schema["properties"] = {name: _strict(part, root) for name, part in schema["properties"].items()}
    if isinstance(schema.get("items"), dict):
        schema["items"] = _strict(schema["items"], root)
    if "anyOf" in schema:
        schema["anyOf"] = [_strict(part, root) for part in schema["anyOf"]]
    _make_all_of_strict(schema, root)
    if "default" in schema and schema["default"] is None:
        del schema["default"]
    if "$ref" in schema and len(schema) > 1:
        return _inline(schema, root)
    return schema


def _make_all_of_strict(schema: Schema, root: Schema) -> None:
    """Merges the only member of `allOf` into the schema, or makes each of several members strict."""
    parts = schema.get("allOf", [])
    if len(parts) == 1:
        del schema["allOf"]
        schema.update(_strict(parts[0], root))
    elif parts:
        schema["allOf"] = [_strict(part, root) for part in parts]


def _inline(schema: Schema, root: Schema) -> Schema:
    """Replaces a `$ref` that has sibling keys by its target. The sibling keys win over the target's keys."""
    target: Any = root
    for key in schema.pop("$ref").removeprefix("#/").split("/"):
        target = target[key]
    beside = dict(schema)
    schema.clear()
    schema.update({**target, **beside})
    return _strict(schema, root)
