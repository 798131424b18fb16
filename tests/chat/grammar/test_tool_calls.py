"""Grammars of answers with calls: on the bundled tokenizer, every allowed token alike."""

from __future__ import annotations

import json
import random
import re
import time
from typing import Any

import jsonschema
import pytest

from jaxchat import v1
from jaxchat.chat.grammar import compiler as grammars_module
from jaxchat.chat.grammar.sandbox import TimeBudget
from jaxchat.chat.tools.hermes import HERMES
from jaxchat.chat.tools.json_parser import ToolCallParser
from jaxchat.chat.tools.stream_parser import CallPart
from jaxchat.errors import ChatError
from tests.chat.grammar.walking import allowed, bundled, constraint_of, empty_row, follows, grammars, request, walk
from tools.schemas.made import random_schema

WEATHER = {"type": "object", "properties": {"city": {"type": "string", "maxLength": 5}}, "required": ["city"]}
NODE = {
    "$ref": "#/$defs/node",
    "$defs": {"node": {"type": "object", "properties": {"next": {"$ref": "#/$defs/node"}, "n": {"const": 1}}}},
}
LEAF = {"$ref": "#/$defs/node", "$defs": {"node": {"type": "object", "properties": {"leaf": {"enum": ["a"]}}}}}
TOOLS = {"weather": WEATHER, "node": NODE, "leaf-2": LEAF, "ping": None}
MODES = {"auto": v1.TOOL_CHOICE_MODE_AUTO, "none": v1.TOOL_CHOICE_MODE_NONE, "required": v1.TOOL_CHOICE_MODE_REQUIRED}


def tool_request(tools: dict[str, Any] = TOOLS, choice: str = "required", **fields: Any) -> v1.ChatCompletionRequest:
    """A request with tools; `choice` is a mode or a name."""
    message = v1.ChatCompletionRequest(model="m", messages=[v1.ChatMessage(role=v1.ROLE_USER, text="hi")], **fields)
    for name, parameters in tools.items():
        function = v1.FunctionDefinition(name=name)
        if parameters is not None:
            function.parameters = json.dumps(parameters)
        message.tools.add(type=v1.TOOL_TYPE_FUNCTION, function=function)
    if choice in MODES:
        message.tool_choice.mode = MODES[choice]
    else:
        message.tool_choice.named.type = v1.TOOL_TYPE_FUNCTION
        message.tool_choice.named.name = choice
    return message


def call(name: str, arguments: str = "{}") -> str:
    return f'<tool_call>\n{{"name": "{name}", "arguments": {arguments}}}\n</tool_call>'


def calls_of(text: str) -> list[tuple[str, Any]]:
    parser = ToolCallParser(HERMES, forced=True)
    calls: list[CallPart] = []
    for part in parser.feed(text):
        if isinstance(part, CallPart):
            calls += [part] if part.name else []
            calls[-1].arguments += "" if part.name else part.arguments
    assert parser.complete == len(calls)
    return [(part.name, json.loads(part.arguments)) for part in calls]


@pytest.mark.parametrize("choice", ["required", "weather", "node"])
@pytest.mark.parametrize("parallel", [True, False])
def test_forced_calls_follow_their_schemas(choice: str, parallel: bool) -> None:
    answers = [walk(tool_request(choice=choice, parallel_tool_calls=parallel), seed, 600) for seed in range(12)]
    complete = [str(text) for text, ended in answers if ended]
    assert len(complete) >= 6
    for text in complete:
        calls = calls_of(text)
        assert len(calls) == 1 or (parallel and choice == "required" and len(calls) <= 16)
        for name, arguments in calls:
            assert name == choice or choice == "required"
            jsonschema.validate(arguments, TOOLS[name] or {"type": "object", "maxProperties": 0})


def test_random_parameters() -> None:
    calls_checked = 0
    for seed in range(40):
        chance = random.Random(seed)
        tools = {f"f{i}": {"type": "object", "properties": {"v": random_schema(chance, 2)}} for i in range(3)}
        for tool in tools.values():
            tool |= {"$defs": tool["properties"]["v"].pop("$defs", {}), "required": ["v"]}
        try:
            text, complete = walk(tool_request(tools), seed, 400)
        except ChatError as error:
            assert error.http_status == 503 or (error.param and error.param.startswith("tools"))
            continue
        for name, arguments in calls_of(str(text)) if complete else []:
            calls_checked += 1
            jsonschema.validate(arguments, tools[name])
    assert calls_checked > 20


def test_the_first_token_is_the_one_that_the_model_knows() -> None:
    opening = bundled().encode("<tool_call>")
    for choice in ("required", "weather"):
        grammar = grammars().compiled(constraint_of(tool_request(choice=choice)))
        row = empty_row(bundled())
        grammar.start().fill(row)
        assert list(allowed(row)) == opening


@pytest.mark.parametrize(
    ("text", "choices"),
    [
        ("Hello.", {"auto", "none"}),
        ("", {"auto", "none"}),
        ("a < b <tool_cal", {"auto", "none"}),
        (call("ping"), {"auto", "required"}),
        ("So:\n" + call("ping"), {"auto"}),
        (call("weather", '{"city": "Oslo"}'), {"auto", "required", "weather"}),
        ("\n".join([call("ping")] * 16), {"auto", "required"}),
        ("\n".join([call("ping")] * 17), set()),
        (call("ping") + call("ping"), set()),
        (call("ping") + "\n", set()),
        (call("ping") + " So.", set()),
        (call("ping", '{"a": 1}'), set()),
        (call("unknown"), set()),
        (call("weather", '{"city": 1}'), set()),
        (call("leaf-2", '{"n": 1}'), set()),
        ('<tool_call>{"name": "ping", "arguments": {}}</tool_call>', set()),
        ("text <tool_call>", set()),
    ],
)
def test_what_each_choice_allows(text: str, choices: set[str]) -> None:
    assert {
        choice for choice in ("auto", "none", "required", "weather") if follows(tool_request(choice=choice), text)
    } == choices


@pytest.mark.parametrize("arguments", ['{"b": 1, "a": "x"}', '{"a": "x", "b": 1}', '{"a": "x"}'])
def test_arguments_come_in_any_order(arguments: str) -> None:
    both = {"a": {"type": "string"}, "b": {"type": "integer"}}
    tools = {"f": {"type": "object", "properties": both, "required": ["a"], "additionalProperties": False}}
    assert follows(tool_request(tools), call("f", arguments))
    assert not follows(tool_request(tools), call("f", '{"b": 1}')) and not follows(
        tool_request(tools), call("f", '{"c": 1, "a": ""}')
    )


def test_one_call_at_most() -> None:
    for choice in ("auto", "required"):
        single = tool_request(choice=choice, parallel_tool_calls=False)
        assert follows(single, call("ping")) and not follows(single, call("ping") + "\n" + call("ping"))


@pytest.mark.parametrize("choice", ["auto", "none", "required"])
def test_a_format_governs_the_text_and_forced_calls_win(choice: str) -> None:
    both = tool_request(choice=choice, response_format=request({"type": "integer"}).response_format)
    assert follows(both, "12") == (choice != "required")
    assert follows(both, call("ping")) == (choice != "none")
    assert not any(follows(both, text) for text in ("Hello.", "", "12" + call("ping"), "1 " + call("ping")))


def test_legacy_functions_allow_one_call() -> None:
    legacy = v1.ChatCompletionRequest(functions=[v1.FunctionDefinition(name="f"), v1.FunctionDefinition(name="g")])
    assert follows(legacy, "Hello.") and follows(legacy, call("f"))
    assert not follows(legacy, call("f") + "\n" + call("f"))
    legacy.function_call.name = "f"
    assert follows(legacy, call("f")) and not follows(legacy, call("g")) and not follows(legacy, "Hello.")


@pytest.mark.parametrize("part", [{"not": {}}, {"type": "string", "pattern": "a(?=b)"}])
def test_bad_parameters_are_refused_by_name(part: Any) -> None:
    tools = {"good": None, "bad": {"type": "object", "properties": {"a": part}, "required": ["a"]}}
    with pytest.raises(ChatError) as caught:
        grammars().compiled(constraint_of(tool_request(tools)))
    assert caught.value.param == "tools.1.function.parameters"
    good = constraint_of(tool_request(tools, choice="good"))
    assert grammars().compiled(good), "one that cannot be called is not compiled"
    assert grammars().compiled(constraint_of(tool_request(tools, choice="none")))


def test_large_parameters_are_refused() -> None:
    large = {"type": "object", "description": "x" * 140_000}
    with pytest.raises(ChatError) as caught:
        grammars().compiled(constraint_of(tool_request({"a": large, "b": large})))
    assert caught.value.param == "tools"


def test_many_slow_schemas_share_one_time_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grammars_module, "TimeBudget", lambda: TimeBudget(cpu=0.3))  # one takes above 10 ms
    slow = {"type": "string", "pattern": "|".join(f".*{i}.*" for i in range(150))}
    tools = {
        f"f{i}": {"type": "object", "properties": {"a": slow, "b": {"const": i}}, "required": ["a"]} for i in range(128)
    }
    started = time.monotonic()
    with pytest.raises(ChatError, match=r"all schemas of the request") as caught:
        grammars().compiled(constraint_of(tool_request(tools)))
    assert caught.value.http_status == 400 and caught.value.param
    assert re.fullmatch(r"tools(\.\d+\.function\.parameters)?", caught.value.param)
    assert time.monotonic() - started < 30


def test_a_refusal_for_lack_of_time_is_not_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    constraint = constraint_of(tool_request({"a": {"type": "object", "description": "never seen before"}}))
    monkeypatch.setattr(grammars_module, "TimeBudget", lambda: TimeBudget(cpu=0.0))
    with pytest.raises(ChatError, match="more than 3 s of processor time") as caught:
        grammars().compiled(constraint)
    assert (caught.value.http_status, caught.value.param) == (400, "tools.0.function.parameters")
    monkeypatch.setattr(grammars_module, "TimeBudget", lambda: TimeBudget(wall=0.0))
    with pytest.raises(ChatError, match="the machine is too busy") as caught:
        grammars().compiled(constraint)
    assert (caught.value.http_status, caught.value.code) == (503, "engine_overloaded") and caught.value.retry_after
    monkeypatch.undo()
    assert grammars().compiled(constraint)


def test_without_parameters_the_arguments_are_exactly_empty() -> None:
    for parameters in (None, {"type": "object", "properties": {}}, {"properties": {}, "title": "E", "type": "object"}):
        request = tool_request({"now": parameters})
        assert follows(request, call("now"))
        assert not any(follows(request, call("now", text)) for text in ('{"a": 1}', "{\n}", "{ }"))
