"""Schemas are followed in every keyword, or refused by keyword and pointer."""

from __future__ import annotations

from typing import Any

import pytest

from jaxchat.errors import ChatError
from tests.chat.grammar.walking import constraint_of, follows, grammars, request

INTEGER, STRING = {"type": "integer"}, {"type": "string"}
BASE = {"type": "object", "properties": {"y": INTEGER}}
REFUSED: list[tuple[Any, str]] = [
    (
        {"patternProperties": {"^a": INTEGER, "b$": STRING}},
        "#/patternProperties: patterns of patternProperties that match",
    ),
    ({"pattern": r"\p{Foo}"}, "#/pattern: a pattern is not a valid regular expression"),
    ({"not": {}}, "no value can satisfy"),
    ({"properties": {"a/b": {"not": {"pattern": "a"}}}}, "'pattern' at #/properties/a~1b/not/pattern"),
    ({"if": {"contains": {}}, "then": {}}, "'contains' at #/if/contains"),
    ({"unevaluatedProperties": False}, "'unevaluatedProperties' at #/unevaluatedProperties"),
    ({"nullable": "yes"}, "'nullable' at #/nullable"),
    ({"format": 1}, "'format' at #/format"),
    ({"minimum": 1e300}, "'minimum' at #/minimum"),
    ({"pattern": r"a(?=b)"}, "'pattern' at #/pattern"),
    ({"pattern": r"^(?!a.c)"}, "'pattern' at #/pattern"),
    ({"pattern": r"\ud800"}, "U+D800 is not a character"),
    ({"prefixItems": [{}], "items": [{}]}, "'items' at #/items"),
    ({"propertyNames": {"not": {}}}, "'propertyNames' at #/propertyNames"),
    ({"type": "array", "uniqueItems": True, "items": STRING}, "'uniqueItems' at #/uniqueItems"),
    ({"type": "object", "properties": {"a": {}}, "maxProperties": 0, "required": ["a"]}, "'maxProperties' at"),
    ({"items": {"uniqueItems": True}}, "'uniqueItems' at #/items/uniqueItems"),
    ({"$defs": {"d": {"contains": {}}}, "$ref": "#/$defs/d"}, "'contains' at #/$defs/d/contains"),
    ({"pattern": "a(?=a)"}, "'pattern' at #/pattern"),
    ({"pattern": r"(a)\1"}, "'pattern' at #/pattern"),
    ({"pattern": r"\bfoo"}, "'pattern' at #/pattern"),
    ({"pattern": "x^a"}, "'pattern' at #/pattern"),
    ({"pattern": "(?i)a"}, "'pattern' at #/pattern"),
    ({"type": "strnig"}, "'type' at #/type"),
    ({"minimum": True}, "'minimum' at #/minimum"),
    ({"exclusiveMinimum": True}, "'exclusiveMinimum' at #/exclusiveMinimum"),
    ({"const": 2**60}, "'const' at #/const"),
    ({"enum": []}, "'enum' at #/enum"),
    ({"maxItems": 10**9}, "'maxItems' at #/maxItems"),
    ({"$ref": "https://example.com/x"}, "'$ref' at #/$ref"),
    ({"$ref": "#/$defs/none"}, "'$ref' at #/$ref"),
    ({"properties": {"a": {"$id": "x"}}}, "'$id' at #/properties/a/$id"),
    ({"minProperties": 2, "type": "object"}, "'minProperties' at #/minProperties"),
    (
        {
            "type": "object",
            "properties": dict.fromkeys("abc", INTEGER),
            "additionalProperties": False,
            "minProperties": 2,
            "maxProperties": 1,
        },
        "no object can have this number of members",
    ),
    ({"oneOf": [INTEGER, {"type": "number"}]}, "'oneOf' at #/oneOf"),
    ({"multipleOf": 0}, "'multipleOf' at #/multipleOf"),
    ({"type": "object", "required": ["n"], "properties": {"n": {"$ref": "#"}}}, "no value can satisfy"),
    ({"$ref": "#"}, "no value can satisfy"),
    ({"minimum": 3, "maximum": 2, "type": "integer"}, "no value can satisfy"),
    ("[]", "JSON Schema object"),
    ("{", "JSON text"),
    ('{"type": "string", "type": "null"}', "this key twice"),
    ('{"minimum": NaN}', "NaN is not JSON"),
]


@pytest.mark.parametrize(("schema", "message"), REFUSED)
def test_refusals_name_keyword_and_pointer(schema: Any, message: str) -> None:
    for _ in range(2):  # compiled, and then remembered
        with pytest.raises(ChatError) as caught:
            grammars().compiled(constraint_of(request(schema)))
        assert caught.value.param and caught.value.param.startswith("response_format.json_schema.schema")
        assert caught.value.http_status == 400 and message in caught.value.message


@pytest.mark.parametrize(
    ("schema", "good", "bad"),
    [
        ({"properties": {"a": INTEGER}, "additionalProperties": STRING, "type": "object"},
         ['{"a":1}', '{"ab":"x"}', '{"":"x"}', '{"a":1,"b":"x","c":"y"}'],
         ['{"a":"x"}', '{"\\u0061":"x"}', '{"b":1}', '{"a":1,"a":"x"}', '{"\\ud800":"x"}']),
        ({"allOf": [{"$ref": "#/$defs/b"}, {"properties": {"x": STRING}, "required": ["x"]}], "$defs": {"b": BASE}},
         ['{"y":1,"x":"a"}', '{"x":"a"}'], ['{"y":1}', '{"x":"a","\\u0079":"z"}']),
        ({"$ref": "#/$defs/b", "required": ["y"], "$defs": {"b": BASE}}, ['{"y":1}'], ["{}"]),
        ({"oneOf": [{"$ref": "#/$defs/a"}, {"$ref": "#/$defs/b"}],
          "$defs": {k: {"type": "object", "properties": {"t": {"const": k}}, "required": ["t"]} for k in "ab"}},
         ['{"t":"a"}', '{"t":"b"}'], ['{"t":"c"}', "{}"]),
        ({"patternProperties": {"^x": INTEGER}, "properties": {"a": STRING}, "type": "object"},
         ['{"a":"s","xa":1}'], ['{"xa":"s"}', '{"\\u0078a":"s"}', '{"b":1}']),
        ({"type": "object", "minProperties": 1, "additionalProperties": INTEGER}, ['{"a":1}'], ["{}"]),
        ({"format": "date", "pattern": "^2", "type": "string"}, ['"2024-02-29"'], ['"2023-02-29"', '"1996-01-01"']),
        ({"type": "string", "pattern": "^.$"}, ['"a"', '"é"'], ['"\u2028"', '"\\r"', '"\\n"', '"ab"']),
        ({"type": "string", "pattern": r"^[^\s]\S[\w.-]+\s$"}, ['"abc. "'], ['"abc"', '"a\u00a0c. "', '"\ufeffac "']),
        ({"type": "string", "pattern": "^[[&~-]{2}]$"}, ['"[&]"', '"-~]"'], ['"ab]"']),
        ({"type": "string", "pattern": r"^\u0041\x42\/(?<n>c)+?$"}, ['"AB/cc"'], ['"AB/"']),
        ({"$schema": "http://json-schema.org/draft-07/schema#", "$id": "x", "type": "array", "prefixItems": [INTEGER]},
         ["[1]", "[]", '[1,"a"]'], ['["a"]']),
        ({"const": 5, "type": ["integer", "string"], "title": "t", "default": 3, "examples": [1]}, ["5"], ["3", "50"]),
        ({"uniqueItems": True, "type": "array", "maxItems": 1}, ["[1]"], ["[1,1]"]),
        (None, ["1", '{"a":[null]}'], ["nul", ""]),
    ],
)  # fmt: skip
def test_schemas_are_followed(schema: Any, good: list[str], bad: list[str]) -> None:
    for text in good:
        assert follows(request(schema), text), text
    for text in bad:
        assert not follows(request(schema), text), text


def test_a_schema_must_have_a_name() -> None:
    for name in (None, "", "a b", "x" * 65):
        nameless = request({})
        nameless.response_format.json_schema.ClearField("name")
        if name is not None:
            nameless.response_format.json_schema.name = name
        with pytest.raises(ChatError) as caught:
            grammars().compiled(constraint_of(nameless))
        assert caught.value.param == "response_format.json_schema.name"
