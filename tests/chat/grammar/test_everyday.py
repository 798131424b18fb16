"""Schemas of everyday generators: answers satisfy them as they were sent, and their values are admitted."""

from __future__ import annotations

from typing import Any

import pytest

from jaxchat.errors import ChatError
from tests.chat.grammar.walking import constraint_of, follows, grammars, request, walk
from tools.schemas.judge import judged

COUNT = 300
INTEGER, STRING, OBJECT = {"type": "integer"}, {"type": "string"}, {"type": "object"}
CASES: list[tuple[Any, list[str], list[str]]] = [
    # empty models, at every depth
    ({"type": "object", "properties": {}}, ["{}"], ['{"a":1}']),
    ({"properties": {"e": {"properties": {}, "title": "E", "type": "object"}}}, ['{"e":{}}'], ['{"e":{"a":1}}']),
    ({"allOf": [{"type": "object", "properties": {}}, {"description": "d"}]}, ["{}"], ['{"a":1}']),
    ({"type": "object"}, ["{}", '{"a":1}'], ["1"]),
    # exactly one option
    (OBJECT | {"properties": {"a": INTEGER, "b": INTEGER}, "oneOf": [{"required": ["a"]}, {"required": ["b"]}]},
     ['{"a":1}', '{"b":1}'], ["{}", '{"a":1,"b":1}']),
    ({"oneOf": [{"enum": [1]}, {"enum": [2]}]}, ["1", "2"], ["3"]),
    ({"oneOf": [INTEGER | {"minimum": 0, "maximum": 3}, INTEGER | {"minimum": 4, "maximum": 9}]}, ["3", "4"], ["10"]),
    ({"oneOf": [INTEGER | {"maximum": 5}, INTEGER | {"minimum": 3}]}, ["2", "6"], ["3", "4", "5"]),
    ({"oneOf": [{"type": "array", "items": INTEGER}, {"type": "array", "items": STRING}]}, ["[1]", '["a"]'], ["[]"]),
    ({"oneOf": [OBJECT | {"properties": {"v": {"const": v}, "w": INTEGER}, "required": ["v"]} for v in (1, 2)]},
     ['{"v":1,"w":2}', '{"v":2}'], ['{"v":3}', '{"w":1}']),
    # characters that a class excludes
    ({"type": "string", "pattern": '^[^<>:"/\\\\|?*]{3}$'}, ['"abc"'], ['"\\"\\"\\""', '"\\\\\\\\\\\\"', '"a\\"b"']),
    ({"type": "string", "pattern": '^[^"a-z]$'}, ['"A"', '"\\\\"'], ['"\\""', '"a"']),
    ({"type": "string", "pattern": "^[\\x00-!#-~]$"}, ['"a"', '"\\\\"'], ['"\\""']),
    ({"patternProperties": {'^[^"]$': INTEGER}, "type": "object"}, ['{"a":1}'], ['{"\\"":1}']),
    ({"properties": {'a"b': INTEGER}, "additionalProperties": STRING, "type": "object"},
     ['{"a\\"b":1}', '{"a":"x"}'], ['{"a\\"b":"x"}', '{"a\\"b":1,"a\\"b":"x"}']),
    # OpenAPI and older drafts
    (STRING | {"nullable": True}, ["null", '"a"'], ["1"]),
    ({"anyOf": [INTEGER, STRING], "nullable": True}, ["null", "1"], ["true"]),
    (INTEGER | {"minimum": 3, "exclusiveMinimum": True, "format": "int32"}, ["4"], ["3"]),
    (INTEGER | {"minimum": -(2**63), "maximum": 2**63 - 1, "format": "int64"}, ["-1", str(10**16)], ["1.5"]),
    ({"type": "array", "items": [INTEGER, STRING], "additionalItems": False},
     ['[1,"a"]', "[]"], ['["a"]', '[1,"a",2]']),
    ({"type": "array", "items": [INTEGER], "additionalItems": STRING}, ['[1,"a"]'], ["[1,2]"]),
    ({"type": "array", "items": INTEGER, "additionalItems": False}, ["[1,2]"], ['["a"]']),
    ({"properties": {"a": INTEGER, "b": INTEGER}, "type": "object", "dependencies": {"a": ["b"]}},
     ["{}", '{"b":1}', '{"a":1,"b":1}'], ['{"a":1}']),
    # names of members, and their number
    (OBJECT | {"propertyNames": STRING, "additionalProperties": INTEGER}, ['{"a":1}'], ['{"a":"x"}']),
    (OBJECT | {"propertyNames": {"enum": ["a"]}, "additionalProperties": INTEGER}, ["{}", '{"a":1}'], ['{"b":1}']),
    (OBJECT | {"propertyNames": {"enum": ["a"]}}, ['{"a":1}'], ['{"b":1}']),
    (OBJECT | {"properties": {}, "propertyNames": {"enum": ["a"]}}, ["{}"], ['{"a":1}']),
    (OBJECT | {"properties": {"a": INTEGER}, "propertyNames": {"enum": ["a", "b"]}}, ['{"a":1}'], ['{"b":1}']),
    (OBJECT | {"properties": {}, "propertyNames": {"enum": ["a"]}, "additionalProperties": INTEGER}, ['{"a":1}'], []),
    (OBJECT | {"propertyNames": {"pattern": "^x"}, "additionalProperties": INTEGER}, ['{"xa":1}'], ['{"a":1}']),
    (OBJECT | {"propertyNames": {"maxLength": 2}}, ['{"ab":null}'], ['{"abc":null}']),
    (OBJECT | {"properties": dict.fromkeys("abc", INTEGER), "minProperties": 2}, ['{"a":1,"c":1}'], ['{"a":1}']),
    (OBJECT | {"properties": dict.fromkeys("abc", INTEGER), "maxProperties": 1}, ["{}", '{"c":1}'], ['{"a":1,"b":1}']),
    # conditions
    ({"properties": {"a": {"not": {}}, "b": INTEGER}, "type": "object"}, ['{"b":1}'], ['{"a":1}']),
    (STRING | {"not": {"enum": ["ab", "c"]}}, ['"a"', '"abc"', '""'], ['"ab"', '"c"', "1"]),
    ({"properties": {"k": {"enum": ["x", "y"]}, "n": INTEGER}, "required": ["k"], "type": "object",
      "if": {"properties": {"k": {"const": "x"}}}, "then": {"required": ["n"]}, "else": {"properties": {"n": False}}},
     ['{"k":"x","n":1}', '{"k":"y"}'], ['{"k":"x"}', '{"k":"y","n":1}']),
    # distinct items
    ({"type": "array", "uniqueItems": True, "items": {"enum": ["a", "b"]}}, ["[]", '["b","a"]'], ['["a","a"]']),
    ({"type": "array", "uniqueItems": True, "items": {"type": "boolean"}, "minItems": 2}, ["[true,false]"], ["[true]"]),
    # lookaheads, and patterns of widely used packages
    (STRING | {"pattern": r"^(?=.*\d)(?=.*[a-z]).{4,}$"}, ['"abc1"'], ['"abcd"', '"1234"', '"a1"']),
    (STRING | {"pattern": r"^(?!\.)(?!.*\.\.)[a-z.]+$"}, ['"a.b"', '"a"'], ['"a..b"', '".a"']),
    (STRING | {"pattern": r"^(?!^[-+.]*$)[+-]?0*\d*\.?\d*$"}, ['"-1.5"'], ['"-."', '""']),
    (STRING | {"pattern": r"^(?!admin$|root$)\w+$"}, ['"admins"', '"r"'], ['"admin"', '"root"']),
    (STRING | {"pattern": "^\\ud83d\\ude00$"}, ['"\U0001f600"'], ['"a"']),
    # without effect
    (STRING | {"format": "unheard-of", "x-a": 1, "example": 1, "$anchor": "a", "contentSchema": {}, "unknown": 1},
     ['"a"'], ["1"]),
]  # fmt: skip


@pytest.mark.parametrize(("schema", "good", "bad"), CASES)
def test_everyday_keywords_are_followed(schema: Any, good: list[str], bad: list[str]) -> None:
    for text in good:
        assert follows(request(schema), text), text
    for text in bad:
        assert not follows(request(schema), text), text


OVERLAPPING: list[list[Any]] = [
    [OBJECT | {"properties": {"limit": INTEGER}}, OBJECT | {"properties": {"name": STRING}, "required": ["name"]}],
    [OBJECT | {"properties": {"a": INTEGER}, "required": ["a"]},
     OBJECT | {"properties": {"a": INTEGER, "b": INTEGER}, "required": ["a", "b"]}],
    [INTEGER, {"type": "number"}],
    [{"const": 1}, {"const": 1.0}],
    [STRING | {"pattern": "^a"}, STRING | {"pattern": "b$"}],
]  # fmt: skip


@pytest.mark.parametrize("options", OVERLAPPING)
def test_options_that_may_both_match_are_refused(options: list[Any]) -> None:
    with pytest.raises(ChatError, match="do not exclude each other") as caught:
        grammars().compiled(constraint_of(request({"properties": {"by": {"oneOf": options}}})))
    assert "'oneOf' at #/properties/by/oneOf" in caught.value.message


def test_strict_refuses_unknown_keywords() -> None:
    strict = request(STRING | {"maxlength": 3})
    strict.response_format.json_schema.strict = True
    with pytest.raises(ChatError, match="'maxlength' at #/maxlength"):
        grammars().compiled(constraint_of(strict))
    assert walk(request(STRING | {"maxlength": 3}), 0, 60)


def test_messages_are_short_and_name_the_field_first() -> None:
    for name in ("n" * 6000, "é" * 500, "a/" * 200):
        with pytest.raises(ChatError) as caught:
            grammars().compiled(constraint_of(request({"type": "object", "properties": {name: {"contains": {}}}})))
        message = caught.value.message
        assert message.startswith("Invalid schema for 'response_format") and len(message) <= 300
        assert "'contains' at #/properties/" in message and message.count("...") == 1


def test_random_everyday_schemas() -> None:
    verdicts = judged(COUNT, seed=20)
    wrong = [verdict for verdict in verdicts if verdict.startswith("WRONG")]
    assert not wrong, wrong[:3]
    refused = sum(count for verdict, count in verdicts.items() if verdict.startswith("refused"))
    assert refused < COUNT / 20
    assert verdicts["valid"] > 3 * COUNT and verdicts["admitted"] > 2.5 * COUNT
