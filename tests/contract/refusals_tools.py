"""Invalid tools, functions and formats, and unknown fields, in the form of `tests.contract.refusals`."""

from __future__ import annotations

from typing import Any

from tests.contract.refusals import CALL, SCHEMA_FORMAT, TOOL, USER, Case, asked

FUNCTION = TOOL["function"]


def _tool(param: str, function: Any, *says: str, field: str = "FunctionDefinition.name") -> Case:
    return Case(field, {"tools": [TOOL | {"function": function}]}, f"tools.0.function{param}", says)


TOOLS = [
    *[asked("tools", value) for value in ({}, "f")],
    asked("tools", [TOOL | {"function": {"name": f"f{i}"}} for i in range(129)], "128", "129"),
    asked("tools", [TOOL, TOOL], "f"),
    *[Case("Tool.type", {"tools": [{"function": {"name": "f"}, **kind}]}, "tools.0.type") for kind in (
        {}, {"type": "retrieval"}, {"type": None}
    )],
    Case("Tool.function", {"tools": [{"type": "function"}]}, "tools.0.function.name"),
    Case("Tool.function", {"tools": [{"type": "function", "function": []}]}, "tools.0.function"),
    *[_tool(".name", {"name": name}) for name in (None, "", "a b", "é", "x" * 65, 5)],
    _tool(".description", FUNCTION | {"description": 5}, "a string", field="FunctionDefinition.description"),
    *[
        _tool(".parameters", FUNCTION | {"parameters": bad}, field="FunctionDefinition.parameters")
        for bad in ("{}", [], {"type": "array"}, {"type": 5})
    ],
    *[
        _tool(".parameters", FUNCTION | {"parameters": bad}, *says, field="FunctionDefinition.parameters")
        for bad, says in (
            ({"properties": {"a": {"contains": {}}}}, ("'contains'", "#/properties/a/contains")),
            ({"type": "object", "properties": {"a": {"type": "strin"}}}, ("'type'", "#/properties/a/type")),
            ({"type": "object", "properties": {"a": {"pattern": "a(?=a)"}}}, ("'pattern'", "#/properties/a/pattern")),
            ({"type": "object", "required": ["a"], "properties": {"a": False}}, ("no value",)),
        )
    ],
    _tool(".strict", FUNCTION | {"strict": 1}, "true or false", field="FunctionDefinition.strict"),
]  # fmt: skip
NAMED = {"type": "function", "function": {"name": "f"}}
CHOICES = [
    *[asked("tool_choice", value, "tools") for value in ("auto", "required", NAMED)],
    *[asked("tool_choice", value, tools=[TOOL]) for value in ("any", 5, {}, [], {"type": "function"})],
    *[
        Case(f"NamedToolChoice.{key}", {"tools": [TOOL], "tool_choice": choice}, "tool_choice", says)
        for key, choice, says in (
            ("name", {"type": "function", "function": {"name": "g"}}, ("g",)),
            ("name", {"type": "function", "function": {}}, ()),
            ("type", {"function": {"name": "f"}}, ()),
            ("type", {"type": "x", "function": {"name": "f"}}, ()),
        )
    ],
    *[asked("parallel_tool_calls", value, "tools") for value in (True, False)],
    asked("parallel_tool_calls", 1, "true or false", tools=[TOOL]),
]
LEGACY = [
    asked("functions", {}),
    asked("functions", [FUNCTION], "tools", tools=[TOOL]),
    asked("functions", [FUNCTION, FUNCTION], "f"),
    asked("functions", [{"name": "a b"}], param="functions.0.name"),
    asked("functions", [FUNCTION | {"parameters": {"contains": {}}}], "'contains'", param="functions.0.parameters"),
    *[asked("function_call", value) for value in ("auto", {"name": "f"}, "required", 5, {}, {"name": 1})],
    *[
        Case(f"FunctionCallChoice.{key}", {"functions": [FUNCTION], "function_call": choice}, "function_call")
        for key, choice in (("name", {"name": "g"}), ("mode", "required"))
    ],
]
_SCHEMA = "response_format.json_schema.schema"
FORMATS = [
    *[asked("response_format", value) for value in ("json", {}, {"type": "xml"}, {"type": None}, [])],
    *[
        Case("ResponseFormat.json_schema", {"response_format": value}, "response_format")
        for value in ({"type": "json_schema"}, {"type": "text", "json_schema": {"name": "s"}})
    ],
    Case("ResponseFormat.type", {"response_format": {"type": "json_object"}}, "messages", ("'json'",)),
    *[
        Case(f"JsonSchemaFormat.{key}", {"response_format": SCHEMA_FORMAT | {"json_schema": wrong}}, param, words)
        for key, wrong, param, words in (
            ("name", {"name": "a b"}, "response_format.json_schema.name", ("a b",)),
            ("name", {}, "response_format.json_schema.name", ()),
            ("schema", {"name": "s", "schema": {"contains": {}}}, _SCHEMA, ("contains", "#/contains")),
            ("schema", {"name": "s", "schema": {"type": "strin"}}, _SCHEMA, ("#/type",)),
        )
    ],
    asked("stream_options", {"include_usage": 1}, "true or false", stream=True),
    asked("stream_options", {"mood": 1}, stream=True, code="unknown_parameter"),
    asked("stream_options", {"include_obfuscation": True}, "false", stream=True, code="unsupported_parameter"),
    *[
        Case("StreamOptions.include_usage", {"stream_options": value, "stream": flag}, "stream_options")
        for value in ({}, {"include_usage": True}, {"include_usage": False})
        for flag in (False, None)
    ],
]
LATER = ("service_tier", "store", "metadata", "modalities", "audio", "verbosity")
UNKNOWN = [
    *[Case("", {name: "x"}, name, (name,), "unsupported_parameter") for name in LATER],
    *[
        Case("", {name: value}, name, (name, "only"), "unsupported_parameter")
        for name, value in (("store", True), ("store", 0), ("service_tier", "flex"), ("metadata", {"a": "b"}))
    ],
    Case("", {"modalities": ["text", "audio"]}, "modalities", (), "unsupported_parameter"),
    *[Case("", {"mood": value}, "mood", ("mood",), "unknown_parameter") for value in (1, False, {}, [])],
    *[
        Case("", {"messages": [message]}, f"messages.0.{path}", (), code)
        for message, path, code in (
            (USER | {"mood": 1}, "mood", "unknown_parameter"),
            (USER | {"audio": {"id": "a"}}, "audio", "unsupported_parameter"),
            (USER | {"content": [{"type": "text", "text": "x", "mood": 1}]}, "content.0.mood", "unknown_parameter"),
            ({"role": "assistant", "tool_calls": [CALL | {"mood": 1}]}, "tool_calls.0.mood", "unknown_parameter"),
        )
    ],
    Case("", {"tools": [TOOL | {"mood": 1}]}, "tools.0.mood", (), "unknown_parameter"),
    Case(
        "",
        {"tools": [TOOL | {"function": {"name": "f", "mood": 1}}]},
        "tools.0.function.mood",
        (),
        "unknown_parameter",
    ),
    Case("", {"response_format": {"type": "text", "mood": 1}}, "response_format", ("mood",), "unknown_parameter"),
]
