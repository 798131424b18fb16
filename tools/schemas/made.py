"""Random JSON Schemas of supported keywords, most of them satisfiable."""

from __future__ import annotations

import random
from typing import Any

FORMATS = ("date", "time", "date-time", "email", "ipv4", "ipv6", "uuid", "hostname", "uri", "duration")
PATTERNS = (
    r"^[a-z]{2,5}$",
    r"^\d{3}-\d{4}$",
    r"^(red|green)\s?x*$",
    r"^[^a-z\s]{1,4}$",
    r"b+$",
    r"^\w+\.(?:png|jpe?g)$",
)
NAMES = ("a", "ab", "abc", "b", "na/me", "é", 'q"t', "x y", "")
LITERALS: tuple[Any, ...] = (1, -3, 1.5, "a", "é\n", "", None, True, [1, "a"], {"k": [None]}, 0, 12345678901)


def random_schema(chance: random.Random, depth: int = 3) -> dict[str, Any]:
    """Returns a random schema with up to two shared definitions, and sometimes a recursive definition.

    Args:
        chance: source of the random choices.
        depth: maximum number of nested schemas.
    """
    definitions = {f"d{i}": part(chance, 1, []) for i in range(chance.randrange(3))}
    schema = part(chance, depth, list(definitions))
    if chance.random() < 0.2:
        definitions["list"] = {
            "type": "object",
            "properties": {"v": part(chance, 0, []), "next": {"$ref": "#/$defs/list"}},
            "required": ["v"],
            "additionalProperties": chance.choice([False, True]),
        }
        schema = {"anyOf": [schema, {"$ref": "#/$defs/list"}]}
    return schema | {"$defs": definitions}


def part(chance: random.Random, depth: int, names: list[str]) -> dict[str, Any]:
    makers = [_integer, _number, _string, _string, _literal, _simple]
    deep = [_object, _object, _object, _array, _prefix, _any_of, _merged, _map]
    if depth and chance.random() < 0.7:
        return chance.choice(deep)(chance, depth - 1, names)
    if names and chance.random() < 0.3:
        return {"$ref": f"#/$defs/{chance.choice(names)}"}
    return chance.choice(makers)(chance)


def _simple(chance: random.Random) -> dict[str, Any]:
    return {"type": chance.choice(["null", "boolean", ["integer", "null"], ["string", "boolean"]]), "title": "t"}


def _integer(chance: random.Random) -> dict[str, Any]:
    low = chance.randrange(-1000, 1000)
    schema: dict[str, Any] = {"type": "integer"}
    if chance.random() < 0.6:
        schema[chance.choice(["minimum", "exclusiveMinimum"])] = low
    if chance.random() < 0.6:
        schema[chance.choice(["maximum", "exclusiveMaximum"])] = low + chance.randrange(30, 3000)
    if chance.random() < 0.2:
        schema["multipleOf"] = chance.choice([2, 3, 7, 10])
    return schema


def _number(chance: random.Random) -> dict[str, Any]:
    low = round(chance.uniform(-10, 10), chance.randrange(4))
    schema: dict[str, Any] = {"type": "number"}
    if chance.random() < 0.6:
        schema[chance.choice(["minimum", "exclusiveMinimum"])] = low
    if chance.random() < 0.6:
        schema[chance.choice(["maximum", "exclusiveMaximum"])] = round(low + chance.uniform(0.5, 20), 3)
    if chance.random() < 0.2:
        schema["multipleOf"] = chance.choice([0.5, 0.25, 2])
    return schema


def _string(chance: random.Random) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "string"}
    kind = chance.random()
    if kind < 0.3:
        schema["pattern"] = chance.choice(PATTERNS)
    elif kind < 0.6:
        schema["format"] = chance.choice(FORMATS)
    elif kind < 0.9:
        schema["minLength"] = chance.randrange(4)
        schema["maxLength"] = schema["minLength"] + chance.randrange(8)
    return schema


def _literal(chance: random.Random) -> dict[str, Any]:
    if chance.random() < 0.4:
        return {"const": chance.choice(LITERALS)}
    return {"enum": chance.sample(LITERALS, chance.randrange(1, 6))}


def _object(chance: random.Random, depth: int, names: list[str]) -> dict[str, Any]:
    properties = {name: part(chance, depth, names) for name in chance.sample(NAMES, chance.randrange(5))}
    schema: dict[str, Any] = {"type": "object", "properties": properties}
    schema["required"] = [name for name in properties if chance.random() < 0.5]
    schema["additionalProperties"] = chance.choice([False, True, part(chance, 0, names)])
    if chance.random() < 0.3:
        del schema["additionalProperties"]
    if chance.random() < 0.2:
        schema["required"].append("late")
    if "additionalProperties" in schema and schema["additionalProperties"] is False:
        schema["required"] = [name for name in schema["required"] if name != "late"]
    return schema


def _map(chance: random.Random, depth: int, names: list[str]) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "object", "additionalProperties": part(chance, depth, names)}
    if chance.random() < 0.4:
        schema |= {"minProperties": 1, "maxProperties": 3}
    if chance.random() < 0.3:
        schema["patternProperties"] = {"^x_": part(chance, 0, names), r"^\d+$": part(chance, 0, names)}
        schema.pop("minProperties", None)
    return schema


def _array(chance: random.Random, depth: int, names: list[str]) -> dict[str, Any]:
    low = chance.randrange(3)
    return {
        "type": "array",
        "items": part(chance, depth, names),
        "minItems": low,
        "maxItems": low + chance.randrange(1, 4),
    }


def _prefix(chance: random.Random, depth: int, names: list[str]) -> dict[str, Any]:
    prefix = [part(chance, depth, names) for _ in range(chance.randrange(1, 4))]
    return {
        "type": "array",
        "prefixItems": prefix,
        "items": chance.choice([False, part(chance, 0, names)]),
        "minItems": chance.randrange(len(prefix) + 1),
    }


def _any_of(chance: random.Random, depth: int, names: list[str]) -> dict[str, Any]:
    return {"anyOf": [part(chance, depth, names) for _ in range(chance.randrange(1, 4))]}


def _merged(chance: random.Random, depth: int, names: list[str]) -> dict[str, Any]:
    first = {
        "type": "object",
        "properties": {"a": part(chance, depth, names), "m": {"type": "integer"}},
        "required": ["m"],
    }
    second = {"properties": {"n": part(chance, 0, names)}, "required": chance.choice([[], ["n"]])}
    if chance.random() < 0.5:
        return {"allOf": [first, second]}
    return first | {"anyOf": [second, {"properties": {"m": {"minimum": 0}}}]}
