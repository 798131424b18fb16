"""The arguments of a function, for formats that write them one by one rather than as one JSON object."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from jaxchat.chat.grammar.json_schema.keywords import Schema, UnsupportedSchema
from jaxchat.chat.grammar.json_schema.kinds import kinds

_REFUSED = ("minProperties", "enum", "const")


@dataclass
class ArgumentSchema:
    """The arguments of a function, read from the translated schema of its parameters.

    Attributes:
        members: the schema of each declared argument, by name.
        required: names of required arguments.
        others: the schema of every undeclared argument; False if they are not allowed.
        definitions: the targets of references, by name.
    """

    members: dict[str, Schema | bool] = field(default_factory=dict)
    required: set[str] = field(default_factory=set)
    others: Schema | bool = True
    definitions: Schema = field(default_factory=dict)

    def schema_of(self, name: str) -> Schema | bool:
        """Returns the schema of the argument `name`; False if it is not allowed."""
        return self.members.get(name, self.others)


def argument_schema(schema: Schema) -> ArgumentSchema:
    """Reads the translated schema of a function's parameters.

    Raises:
        UnsupportedSchema: several alternatives of the schema are objects, or the schema lists allowed values, names
            arguments by patterns only, or limits the number of arguments. An upper limit is accepted if all declared
            arguments together do not exceed it and no other arguments are allowed.
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
