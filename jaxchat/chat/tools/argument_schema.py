"""The arguments of a function, for formats that write them one by one rather than as one JSON object."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from jaxchat.chat.grammar.json_schema.keywords import UnsupportedSchema

Schema = dict[str, Any]
_REFUSED = ("minProperties", "enum", "const")


@dataclass
class ArgumentSchema:
    """The arguments of a function, read from the translated schema of its parameters.

    Attributes:
        members: the schema of each declared argument, by name.
        required: names of required arguments.
        others: the schema of undeclared arguments; False if they are not allowed.
        definitions: the schemas to which references point, by name.
    """

    members: dict[str, Schema | bool] = field(default_factory=dict)
    required: set[str] = field(default_factory=set)
    others: Schema | bool = True
    definitions: Schema = field(default_factory=dict)

    def schema_of(self, name: str) -> Schema | bool:
        """Returns the schema of one argument."""
        return self.members.get(name, self.others)


def argument_schema(schema: Schema) -> ArgumentSchema:
    """Reads the translated schema of a function's parameters.

    Raises:
        UnsupportedSchema: the schema has several alternatives, limits the number of arguments, lists allowed values, or
            names arguments by patterns only.
    """
    result = ArgumentSchema(definitions=schema.get("$defs", {}))
    for part in _parts(schema, result.definitions, set()):
        _add(part, result)
    if result.members:
        result.others = False
    return result


def _parts(schema: Schema | bool, definitions: Schema, seen: set[str]) -> Iterator[Schema]:
    """Yields `schema` and its in-place subschemas. Raises UnsupportedSchema if several alternatives are objects."""
    if isinstance(schema, bool):
        return
    yield schema
    reference = schema.get("$ref", "")
    if reference and reference not in seen:
        yield from _parts(definitions[reference.rpartition("/")[2]], definitions, seen | {reference})
    for part in schema.get("allOf", []):
        yield from _parts(part, definitions, seen)
    for keyword in ("anyOf", "oneOf"):
        options = [option for option in schema.get(keyword, []) if "object" in kinds(option, definitions)]
        if len(options) > 1:
            raise UnsupportedSchema("#", f"this model writes arguments one by one, so '{keyword}' is not supported.")
        yield from (part for option in options for part in _parts(option, definitions, seen))


def _add(part: Schema, result: ArgumentSchema) -> None:
    members = part.get("properties", {})
    limited = "maxProperties" in part and (not members or part["maxProperties"] < len(members))
    if limited or any(keyword in part for keyword in _REFUSED):
        raise UnsupportedSchema("#", "this model writes arguments one by one, so their number cannot be limited.")
    if "patternProperties" in part and not members:
        raise UnsupportedSchema("#", "this model writes arguments one by one, so they need names.")
    for name, schema in members.items():
        parts = [part for part in (result.members.get(name, True), schema) if part is not True]
        result.members[name] = {"allOf": parts} if len(parts) > 1 else parts[0] if parts else True
    result.required |= {*part.get("required", [])}
    if "additionalProperties" in part and result.others is True:
        result.others = part["additionalProperties"]


ALL_KINDS = frozenset({"null", "boolean", "number", "string", "array", "object"})
_DEPTH = 32


def kinds(schema: Schema | bool, definitions: Schema, depth: int = 0) -> frozenset[str]:
    """Returns the JSON types that a value of a translated schema may have, possibly more. Integers are numbers."""
    if isinstance(schema, bool) or depth > _DEPTH:
        return ALL_KINDS if schema else frozenset()
    result = ALL_KINDS
    if "type" in schema:
        types = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
        result &= {"number" if name == "integer" else name for name in types}
    for values in ([schema["const"]] if "const" in schema else None, schema.get("enum")):
        if values is not None:
            result &= {kind_of(value) for value in values}
    if "$ref" in schema:
        result &= kinds(definitions[schema["$ref"].rpartition("/")[2]], definitions, depth + 1)
    for part in schema.get("allOf", []):
        result &= kinds(part, definitions, depth + 1)
    for keyword in ("anyOf", "oneOf"):
        if keyword in schema:
            result &= frozenset().union(*(kinds(part, definitions, depth + 1) for part in schema[keyword]))
    return result


def kind_of(value: Any) -> str:
    """Returns the JSON type of a value."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int | float):
        return "number"
    return "string" if isinstance(value, str) else "array" if isinstance(value, list) else "object"
