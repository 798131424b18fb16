"""Converts functions to the form that a chat template accepts: adds descriptions, and rewrites lists of types."""

from __future__ import annotations

from typing import Any

from jaxchat.chat.prompt.messages import Tool
from jaxchat.chat.prompt.template_traits import TemplateTraits

_VALUES = frozenset({"type", "enum", "const", "default", "examples", "required"})
_NAMED = frozenset({"properties", "patternProperties", "$defs", "definitions", "dependentSchemas"})


def tool_in_form(tool: Tool, traits: TemplateTraits) -> Tool:
    """Returns the tool in the form that a template with these traits needs."""
    function = tool["function"]
    if traits.fills_functions != "no":
        parameters = {"type": "object", "properties": {}} | (function.get("parameters") or {})
        if traits.fills_functions == "parameters too":
            parameters["properties"] = _described(parameters["properties"])
        function = {"name": "", "description": ""} | function | {"parameters": parameters}
    if traits.types_in_any_of and "parameters" in function:
        function = function | {"parameters": _in_any_of(function["parameters"])}
    return tool | {"function": function}


def _described(properties: Any) -> Any:
    """Returns the schemas of parameters. Schemas without a description get an empty one."""
    if not isinstance(properties, dict):
        return properties
    return {
        name: {"description": ""} | schema if isinstance(schema, dict) else schema
        for name, schema in properties.items()
    }


def _in_any_of(schema: Any, *, data: bool = False) -> Any:
    """Returns a JSON Schema with `anyOf` in place of lists of types, which some templates cannot print.

    Args:
        schema: the schema, or a part of it.
        data: whether `schema` maps names to schemas, such as `properties`, so that no key in it is a keyword.
    """
    if isinstance(schema, list):
        return [_in_any_of(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    changed = {key: _part_in_any_of(key, value, data) for key, value in schema.items()}
    types = changed.get("type")
    if data or not isinstance(types, list) or "anyOf" in changed:
        return changed
    del changed["type"]
    return changed | {"anyOf": [{"type": each} for each in types]}


def _part_in_any_of(key: str, value: Any, data: bool) -> Any:
    if data:
        return _in_any_of(value)
    return value if key in _VALUES else _in_any_of(value, data=key in _NAMED)
