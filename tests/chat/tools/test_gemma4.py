"""Values in the syntax of Gemma 4: which of them a schema allows, and what they are in JSON."""

from __future__ import annotations

import json
from typing import Any

import jsonschema
import pytest

from jaxchat.chat.tools.gemma4 import GEMMA4
from tests.chat.grammar.test_tool_calls import tool_request
from tests.chat.grammar.test_tool_writer import follows
from tests.chat.tools.test_json_parser import deltas

Q = '<|"|>'
NODE = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "next": {"$ref": "#/$defs/node"}},
    "required": ["name"],
    "additionalProperties": False,
}
CASES: list[tuple[dict[str, Any], str, Any]] = [
    ({"type": "string"}, f'{Q}say "hi", {{x}}: [y]\n{Q}', 'say "hi", {x}: [y]\n'),
    ({"type": "string"}, f"{Q}{Q}", ""),
    ({"type": "string"}, f"{Q}5{Q}", "5"),
    ({"type": "integer", "maximum": 9}, "-7", -7),
    ({"type": ["number", "null"]}, "None", None),
    ({"type": ["number", "null"]}, "null", None),
    ({"enum": ["a b", 2, True, None]}, f"{Q}a b{Q}", "a b"),
    ({"enum": ["a b", 2, True, None]}, "true", True),
    ({"const": "x"}, f"{Q}x{Q}", "x"),
    ({"enum": [f"a{Q}b", 2]}, json.dumps(f"a{Q}b"), f"a{Q}b"),
    ({"type": "array", "items": {"type": "string"}, "minItems": 2}, f"[{Q}a,b{Q},{Q}]{Q}]", ["a,b", "]"]),
    ({"type": "array"}, f"[1,[{Q}x{Q}],{{a:null}}]", [1, ["x"], {"a": None}]),
    ({"type": "object"}, f"{{b:{{c:[{Q}}}{Q}]}}}}", {"b": {"c": ["}"]}}),
    ({"type": "object", "additionalProperties": {"type": "integer"}}, "{a:1,b-c:2}", {"a": 1, "b-c": 2}),
    ({"anyOf": [{"type": "boolean"}, {"type": "string"}]}, f"{Q}true{Q}", "true"),
    ({"$ref": "#/$defs/node"}, f"{{name:{Q}a{Q},next:{{name:{Q}b{Q}}}}}", {"name": "a", "next": {"name": "b"}}),
    ({"type": "string", "format": "date"}, f"{Q}2024-02-29{Q}", "2024-02-29"),
    ({"type": "object", "patternProperties": {"^a": {"type": "integer"}}}, '{"a1": 3}', {"a1": 3}),
    ({"type": "array", "maxItems": 1}, "[1]", [1]),
    ({"type": "object", "properties": {"o'clock": {"type": "integer"}}}, '{"o\'clock":3}', {"o'clock": 3}),
    ({}, f"{{x:{Q}y{Q}}}", {"x": "y"}),
]
WRONG: list[tuple[dict[str, Any], str]] = [
    ({"type": "string"}, "5"),
    ({"type": "string", "maxLength": 2}, f"{Q}abc{Q}"),
    ({"type": "integer", "maximum": 9}, "10"),
    ({"enum": ["a", 2]}, f"{Q}2{Q}"),
    ({"type": "array", "items": {"type": "string"}, "minItems": 2}, f"[{Q}a{Q}]"),
    ({"type": "array", "maxItems": 1}, "[1,2]"),
    ({"$ref": "#/$defs/node"}, f"{{next:{{name:{Q}b{Q}}}}}"),
    ({"type": "boolean"}, "None"),
]


def tools(schema: dict[str, Any]) -> dict[str, Any]:
    return {"f": {"type": "object", "properties": {"v": schema}, "required": ["v"], "$defs": {"node": NODE}}}


@pytest.mark.parametrize("control", [True, False])
@pytest.mark.parametrize(("schema", "text", "value"), CASES)
def test_values_are_allowed_and_become_json(schema: dict[str, Any], text: str, value: Any, control: bool) -> None:
    jsonschema.validate({"v": value}, tools(schema)["f"])
    call = f"<|tool_call>call:f{{v:{text}}}<tool_call|>"
    assert follows("gemma-4", control, tool_request(tools(schema), "required"), call)
    for cuts in ([], list(range(len(call)))):
        parts = [part for delta in deltas(call, cuts, calls=GEMMA4) for part in delta.calls]
        assert json.loads("".join(part.arguments for part in parts)) == {"v": value}


@pytest.mark.parametrize(("schema", "text"), WRONG)
def test_other_values_are_not_allowed(schema: dict[str, Any], text: str) -> None:
    call = f"<|tool_call>call:f{{v:{text}}}<tool_call|>"
    assert not follows("gemma-4", False, tool_request(tools(schema), "required"), call)
