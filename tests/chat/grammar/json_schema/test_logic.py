"""Proofs about schemas hold for all values of a pool, by the judgement of the package jsonschema."""

from __future__ import annotations

import json
import random
from itertools import combinations, product
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from jaxchat.chat.grammar.json_schema.complement import complement
from jaxchat.chat.grammar.json_schema.disjoint import disjoint
from jaxchat.chat.grammar.json_schema.document import MAX_STEPS, Document
from jaxchat.chat.grammar.json_schema.exclusive import exclusive_options
from jaxchat.chat.grammar.json_schema.keywords import UnsupportedSchema
from tests.chat.grammar.json_schema.test_lookaheads import in_python

SCALARS: list[Any] = [None, True, False, *range(-4, 8), 0.5, 2.5, 1.0, "", "a", "b", "bb", "abc"]
ARRAYS: list[Any] = [[], *([item] for item in (0, 1, "a", None)), [1, "a"], [1, 2, 3], [[1]]]
OBJECTS: list[Any] = [
    dict(zip(names, values, strict=True))
    for names in [(), *combinations("abc", 1), *combinations("abc", 2), tuple("abc")]
    for values in product((0, 1, "a"), repeat=len(names))
]
POOL = SCALARS + ARRAYS + OBJECTS


def random_logic(chance: random.Random, depth: int) -> dict[str, Any]:
    """Returns a random schema of keywords that can be compared or negated, some of which are unsatisfiable."""
    low, some = chance.randrange(-3, 5), [0, 1, 2, 2.5, "a", "bb", None, True]
    simple: list[dict[str, Any]] = [
        {"const": chance.choice(some)},
        {"enum": chance.sample(some, 3)},
        {"type": chance.choice(["integer", "number"]), "minimum": low},
        {"type": chance.choice(["integer", "number"]), "exclusiveMaximum": low},
        {"minimum": low, "maximum": low + chance.randrange(3)},
        {"type": "string", chance.choice(["minLength", "maxLength"]): chance.randrange(4)},
        {"type": chance.sample(["string", "integer", "null", "boolean", "object", "array"], chance.randrange(1, 4))},
        {"type": "array", "items": {"type": chance.choice(["string", "integer"])}, "minItems": chance.randrange(2)},
        {"type": "object", "required": chance.sample("abc", chance.randrange(1, 3))},
    ]
    if not depth or chance.random() < 0.4:
        return chance.choice(simple)
    members = {name: random_logic(chance, depth - 1) for name in chance.sample("abc", chance.randrange(3))}
    closed: dict[str, Any] = chance.choice([{}, {"additionalProperties": False}])
    return chance.choice([
        {"type": "object", "properties": members, "required": chance.sample("abc", chance.randrange(3))} | closed,
        {chance.choice(["anyOf", "allOf"]): [random_logic(chance, depth - 1) for _ in range(2)]},
        {"type": ["object", "integer"], "properties": members, "nullable": False},
    ])  # fmt: skip


def satisfying(schema: Any) -> list[Any]:
    """Returns the values of the pool that satisfy a schema, the patterns of which are those of ECMA-262."""
    schema = json.loads(json.dumps(schema), object_hook=lambda part: part | _pattern(part))
    return [value for value in POOL if Draft202012Validator(schema).is_valid(value)]


def _pattern(part: dict[str, Any]) -> dict[str, Any]:
    return {"pattern": in_python(part["pattern"])} if isinstance(part.get("pattern"), str) else {}


def test_no_value_satisfies_both_of_disjoint_schemas() -> None:
    chance, proven = random.Random(3), 0
    for _ in range(400):
        a, b = random_logic(chance, 2), random_logic(chance, 2)
        if disjoint(Document(True), a, b):
            proven += 1
            common = satisfying({"allOf": [a, b]})
            assert not common, (a, b, common[0])
    assert proven > 100


def test_a_complement_excludes_every_value() -> None:
    chance, checked = random.Random(4), 0
    for _ in range(300):
        schema = random_logic(chance, 2)
        try:
            options = complement(Document(schema), schema, "#")
        except UnsupportedSchema:
            continue
        outside = satisfying({"anyOf": options}) if options else []
        assert not [value for value in outside if Draft202012Validator(schema).is_valid(value)], schema
        missing = [value for value in satisfying({"not": schema}) if value not in outside and value not in (0.5, 2.5)]
        checked += 1
        assert not missing, (schema, missing)  # only numbers may be left out, where integers are excluded
    assert checked > 150


def test_restricted_options_exclude_each_other() -> None:
    chance, accepted = random.Random(5), 0
    for _ in range(300):
        schema = random_logic(chance, 1) | {"oneOf": [random_logic(chance, 1) for _ in range(3)]}
        try:
            options = [option for _, option in exclusive_options(Document(schema), schema, "#")]
        except UnsupportedSchema:
            continue
        accepted += 1
        rest = {name: value for name, value in schema.items() if name != "oneOf"}
        for value in satisfying({"allOf": [rest, {"anyOf": options}]}):
            assert Draft202012Validator(schema).is_valid(value), (schema, value)
    assert accepted > 50


def test_comparisons_are_bounded() -> None:
    parts = {f"d{i}": {"allOf": [{"$ref": f"#/$defs/d{i + 1}"}] * 30} for i in range(20)} | {"d20": {"type": "number"}}
    document = Document({"$defs": parts})
    with pytest.raises(UnsupportedSchema, match=f"more than {MAX_STEPS} comparisons"):
        disjoint(document, {"$ref": "#/$defs/d0"}, {"$ref": "#/$defs/d0"})
