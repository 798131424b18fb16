"""Random schemas in the forms that pydantic, zod, OpenAPI, MCP servers and the JSON Schema test suite use."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import Any

from tools.schemas.shapes import Shape, constant, leaf

Members = dict[str, tuple[Shape, bool]]  # each with whether it is required
NAMES = ("id", "name", "tags", "kind_of", "value", "next one", 'q"t', "émile", "back\\slash", "n")
ANNOTATIONS: tuple[dict[str, Any], ...] = (
    {"title": "Title"},
    {"description": "Says what it is."},
    {"default": None},
    {"examples": [1]},
    {"example": "x"},
    {"x-order": 3},
    {"deprecated": True, "readOnly": False},
    {"$comment": "c"},
    {"contentMediaType": "text/plain"},
    {"markdownDescription": "*unknown*"},
)


def everyday_schemas(seed: int) -> Iterator[Shape]:
    """Yields an endless series of distinct random schemas, each with its source of values."""
    chance, seen = random.Random(seed), set[str]()
    while True:
        made = shape(chance, 3)
        if repr(made.schema) not in seen:
            seen.add(repr(made.schema))
            yield made


def shape(chance: random.Random, depth: int) -> Shape:
    """Returns a random schema with its source of values.

    Args:
        chance: source of randomness.
        depth: maximum number of nested levels.
    """
    made = chance.choice(COMPOUNDS)(chance, depth - 1) if depth and chance.random() < 0.8 else leaf(chance)
    if chance.random() < 0.3:
        return Shape(chance.choice(ANNOTATIONS) | made.schema, made.sample)
    return made


def _members(chance: random.Random, depth: int, most: int = 4) -> Members:
    names = chance.sample(NAMES, chance.randrange(most + 1))
    return {name: (shape(chance, depth), chance.random() < 0.6) for name in names}


def _of_members(members: Members, **keywords: Any) -> dict[str, Any]:
    required = [name for name, (_, needed) in members.items() if needed]
    schema: dict[str, Any] = {
        "type": "object",
        "properties": {name: part.schema for name, (part, _) in members.items()},
    }
    return schema | ({"required": required} if required else {}) | keywords


def _sample(members: Members, chance: random.Random) -> dict[str, Any]:
    return {name: part.sample(chance) for name, (part, needed) in members.items() if needed or chance.random() < 0.5}


def _model(chance: random.Random, depth: int) -> Shape:
    members = _members(chance, depth)
    keywords = chance.choice([{}, {"additionalProperties": False}, {"title": "M"}])
    return Shape(_of_members(members, **keywords), lambda again: _sample(members, again))


def _list(chance: random.Random, depth: int) -> Shape:
    item, low = shape(chance, depth), chance.randrange(3)
    high = low + chance.randrange(4)
    schema: dict[str, Any] = {"type": "array", "items": item.schema}
    schema |= {"minItems": low, "maxItems": high} if chance.random() < 0.5 else {}
    return Shape(schema, lambda again: [item.sample(again) for _ in range(again.randint(low, high))])


def _tuple(chance: random.Random, depth: int) -> Shape:
    items = [shape(chance, depth) for _ in range(chance.randrange(1, 4))]
    parts, size = [item.schema for item in items], len(items)
    older: dict[str, Any] = {"type": "array", "items": parts, "additionalItems": False, "minItems": size}
    newer = {"type": "array", "prefixItems": parts, "items": False, "minItems": size}
    schema = older | {"$schema": "http://json-schema.org/draft-07/schema#"} if chance.random() < 0.3 else newer
    return Shape(schema, lambda again: [item.sample(again) for item in items])


def _set(chance: random.Random, depth: int) -> Shape:
    values = chance.sample(["a", "b", "c", "d", "e"], chance.randrange(1, 5))
    schema = {"type": "array", "items": {"enum": values}, "uniqueItems": True}
    return Shape(schema, lambda again: again.sample(values, again.randrange(len(values) + 1)))


def _map(chance: random.Random, depth: int) -> Shape:
    value = shape(chance, depth)
    keys = ["k1", "k2", "other"]
    schema: dict[str, Any] = {"type": "object", "additionalProperties": value.schema}
    form = chance.randrange(4)
    if form == 1:
        schema["propertyNames"] = {"type": "string"}
    elif form == 2:
        schema["propertyNames"] = {"enum": keys}
    elif form == 3:
        schema["propertyNames"] = {"pattern": "^[a-z][a-z0-9]*$"}
    return Shape(schema, lambda again: {key: value.sample(again) for key in keys if again.random() < 0.5})


def _optional(chance: random.Random, depth: int) -> Shape:
    some = shape(chance, depth)
    schema: dict[str, Any] = {"anyOf": [some.schema, {"type": "null"}]}
    if "type" in some.schema and chance.random() < 0.4:
        schema = some.schema | {"nullable": True}
    return Shape(schema, lambda again: None if again.random() < 0.3 else some.sample(again))


def _union(chance: random.Random, depth: int) -> Shape:
    parts = [shape(chance, depth) for _ in range(chance.randrange(2, 4))]
    return Shape({"anyOf": [part.schema for part in parts]}, lambda again: again.choice(parts).sample(again))


def _tagged(chance: random.Random, depth: int) -> Shape:
    options = []
    for tag in ("cat", "dog", "eel")[: chance.randrange(2, 4)]:
        kind = Shape({"const": tag, "type": "string"}, constant(tag))
        members: Members = {"kind": (kind, True)} | _members(chance, depth, 2)
        options.append(Shape(_of_members(members), lambda again, members=members: _sample(members, again)))
    schema: dict[str, Any] = {"oneOf": [option.schema for option in options]}
    if chance.random() < 0.6:
        schema["discriminator"] = {"propertyName": "kind", "mapping": {"cat": "#/$defs/Cat"}}
    return Shape(schema, lambda again: again.choice(options).sample(again))


def _exclusive(chance: random.Random, depth: int) -> Shape:
    """Returns a `oneOf` without tags. A sample is made for one option. It is invalid if it satisfies another too."""
    form = chance.randrange(4)
    if form == 0:
        members: Members = {"a": (shape(chance, 0), False), "b": (shape(chance, 0), False)}
        schema = _of_members(members, oneOf=[{"required": ["a"]}, {"required": ["b"]}])
        return Shape(schema, lambda again: {name: members[name][0].sample(again) for name in again.choice(["a", "b"])})
    if form == 1:
        schema = {"oneOf": [{"type": "integer", "maximum": 3}, {"type": "number", "minimum": 5}, {"type": "string"}]}
        return Shape(schema, constant(1, 7.5, "x"))
    if form == 2:
        first, second = _members(chance, 0, 2), _members(chance, 0, 2)
        schema = {"oneOf": [_of_members(first), _of_members(second)]}
        return Shape(schema, lambda again: _sample(again.choice([first, second]), again))
    schema = {
        "oneOf": [{"type": "array", "items": {"type": "integer"}}, {"type": "array", "items": {"type": "string"}}]
    }
    return Shape(schema, constant([1], ["a", "b"]))


def _extended(chance: random.Random, depth: int) -> Shape:
    base, more = _members(chance, depth, 2), _members(chance, depth, 2)
    more = {name: member for name, member in more.items() if name not in base}
    schema = {"allOf": [_of_members(base), {"properties": {}} | _of_members(more)]}
    return Shape(schema, lambda again: _sample(base | more, again))


def _conditional(chance: random.Random, depth: int) -> Shape:
    first, second = shape(chance, 0), shape(chance, 0)
    kind = Shape({"enum": ["one", "two"]}, constant("one", "two"))
    members: Members = {"kind": (kind, True), "first": (first, False), "second": (second, False)}
    schema = _of_members(members) | {
        "if": {"properties": {"kind": {"const": "one"}}, "required": ["kind"]},
        "then": {"required": ["first"]},
        "else": {"required": ["second"]},
    }
    return Shape(schema, lambda again: _sample(members, again))


def _dependent(chance: random.Random, depth: int) -> Shape:
    members = {name: (shape(chance, 0), False) for name in "abc"}
    keyword = chance.choice(["dependentRequired", "dependencies"])
    schema = _of_members(members) | {keyword: {"a": ["b"]}}
    return Shape(schema, lambda again: _sample(members, again))


def _counted(chance: random.Random, depth: int) -> Shape:
    members = {name: (shape(chance, 0), False) for name in "abcd"[: chance.randrange(2, 5)]}
    limits = chance.choice([{"minProperties": 1}, {"minProperties": 2}, {"maxProperties": 1}])
    return Shape(_of_members(members, **limits), lambda again: _sample(members, again))


def _referenced(chance: random.Random, depth: int) -> Shape:
    part = shape(chance, 0)
    schema = {"type": "object", "properties": {"a": part.schema, "b": part.schema}, "required": ["a"]}
    return Shape(schema, lambda again: {"a": part.sample(again)})


def _empty(chance: random.Random, depth: int) -> Shape:
    return Shape({"type": "object", "properties": {}}, constant({}))


COMPOUNDS: tuple[Callable[[random.Random, int], Shape], ...] = (
    *(_model, _model, _model, _list, _tuple, _set, _map, _optional, _union, _tagged, _exclusive, _extended),
    *(_conditional, _dependent, _counted, _referenced, _empty),
)
