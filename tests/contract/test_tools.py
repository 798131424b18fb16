"""Tools that the model may call by itself, and that calls leave no trace in the text."""

from __future__ import annotations

import json

import pytest

from tests.contract.answers import Answer
from tests.contract.covering import covers
from tests.contract.doors import Door
from tests.contract.echo import SPLIT, EchoRunner
from tests.contract.place import Place

PROPERTIES = {"z": {"type": "integer", "default": 2**60}, "q": {"type": "string"}, "a": {"type": "null"}}
SCHEMA = {"type": "object", "properties": PROPERTIES}
FUNCTION = {"name": "look-up_1", "description": "Looks é up.", "parameters": SCHEMA, "strict": True}
TOOLS = [{"type": "function", "function": FUNCTION}, {"type": "function", "function": {"name": "plain"}}]
CALL = '<tool_call>\n{"name": "look-up_1", "arguments": {"z": 1, "q": "é<"}}\n</tool_call>'
PLAIN = '<tool_call>\n{"name": "plain", "arguments": {}}\n</tool_call>'


def ask_with_tools(door: Door, text: str, **fields) -> Answer:
    return door.ask(messages=[{"role": "user", "content": text}], **{"tools": TOOLS, **fields})


@covers(
    *("ChatCompletionRequest.tools", "Tool.type", "Tool.function", "FunctionDefinition.name"),
    *("FunctionDefinition.description", "FunctionDefinition.parameters"),
)
def test_the_model_sees_the_tools(echo: Door, runner: EchoRunner) -> None:
    ask_with_tools(echo, "hi")
    tools_text = runner.prompts[-1].split("<|im_end|>")[0].removeprefix("<|im_start|>tools\n")
    seen = [{"type": tool["type"], "function": dict(tool["function"])} for tool in TOOLS]
    del seen[0]["function"]["strict"]
    assert json.dumps(json.loads(tools_text)) == json.dumps(seen), "in the order of the request"


@covers("FunctionDefinition.strict")
def test_strict_changes_nothing_more(echo: Door, runner: EchoRunner) -> None:
    ask_with_tools(echo, "hi")
    loose = [TOOLS[0] | {"function": FUNCTION | {"strict": False}}, TOOLS[1]]
    ask_with_tools(echo, "hi", tools=loose)
    assert runner.prompts[-1] == runner.prompts[-2]


@covers("ChatCompletionRequest.tool_choice", "ToolChoice.mode", "ChatCompletionRequest.parallel_tool_calls")
def test_none_hides_the_tools_and_auto_is_the_default(echo: Door, runner: EchoRunner) -> None:
    ask_with_tools(echo, "hi", tool_choice="none")
    assert "look-up_1" not in runner.prompts[-1]
    for fields in ({}, {"tool_choice": "auto"}, {"parallel_tool_calls": True}):
        assert ask_with_tools(echo, CALL, **fields).finish == "tool_calls"
    assert echo.ask(tool_choice="none").text == "Hello", "legal without tools"
    ask_with_tools(echo, "hi", tool_choice="auto", parallel_tool_calls=True)


@covers(
    *("AssistantMessage.tool_calls", "Delta.tool_calls", "ToolCall.id", "ToolCall.type", "ToolCall.function"),
    *("ToolCallDelta.id", "ToolCallDelta.type", "ToolCallDelta.function", "FunctionCall.name"),
    *("FunctionCall.arguments", "ToolCallDelta.index"),
)
def test_calls_come_out_of_the_text(echo: Door) -> None:
    answer = ask_with_tools(echo, f"Wait.\n{CALL}\n{PLAIN}")
    (said,) = answer.choices
    assert said.text == "Wait." and said.finish == "tool_calls"
    assert [call.name for call in said.calls] == ["look-up_1", "plain"]
    assert [json.loads(call.arguments) for call in said.calls] == [{"z": 1, "q": "é<"}, {}]
    assert all(call.id.startswith("call_") and len(call.id) == 29 for call in said.calls)
    assert len({call.id for call in said.calls}) == 2


def test_a_pure_call_has_no_content(echo: Door) -> None:
    (said,) = ask_with_tools(echo, CALL, logprobs=True).choices
    assert said.finish == "tool_calls" and not said.text and not said.entries
    if not echo.stream:
        assert said.text is None


def test_the_json_of_a_pure_call(echo_place: Place) -> None:
    body = {"model": "echo", "messages": [{"role": "user", "content": CALL}], "tools": TOOLS, "logprobs": True}
    (choice,) = echo_place.http.post("/v1/chat/completions", json=body).json()["choices"]
    assert choice["logprobs"] == {"content": None} and choice["finish_reason"] == "tool_calls"
    assert set(choice["message"]) == {"role", "content", "tool_calls"} and choice["message"]["content"] is None
    (call,) = choice["message"]["tool_calls"]
    assert set(call) == {"id", "type", "function"} and set(call["function"]) == {"name", "arguments"}


@pytest.mark.parametrize("text", ["a </tool_call>", "<tool call>{</tool_call>", "a <tool_c"])
def test_what_is_no_call_stays_text(echo: Door, text: str) -> None:
    answer = ask_with_tools(echo, text, logprobs=True)
    assert (answer.text, answer.finish, answer.choices[0].calls) == (text, "stop", [])
    assert answer.choices[0].entry_bytes == text.encode()


def test_without_tools_call_syntax_is_text(echo: Door) -> None:
    assert ask_with_tools(echo, CALL, tools=None).text == CALL


def test_a_cut_call_reports_the_length(echo: Door) -> None:
    (said,) = ask_with_tools(echo, CALL, max_tokens=60).choices
    assert said.finish == "length" and not said.text
    assert [call.name for call in said.calls] == ["look-up_1"] and CALL.find(said.calls[0].arguments) > 0


def test_each_choice_has_its_own_calls_and_stops_do_not_cut_them(echo: Door) -> None:
    answer = ask_with_tools(echo, f"{CALL}{SPLIT}plain: 1", n=2, stop=['"z"', ": 1"])
    first, second = answer.choices
    assert [call.name for call in first.calls] == ["look-up_1"] and first.finish == "tool_calls"
    assert (second.text, second.finish, second.calls) == ("plain", "stop", [])


def test_an_answer_can_be_sent_back(echo: Door, runner: EchoRunner) -> None:
    (said,) = ask_with_tools(echo, CALL).choices
    (call,) = said.calls
    again = {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
    history = [{"role": "assistant", "content": said.text, "tool_calls": [again]}]
    history += [{"role": "tool", "tool_call_id": call.id, "content": "42"}]
    echo.ask(messages=[{"role": "user", "content": "hi"}, *history], tools=TOOLS)
    assert f"[{call.id}] 42" in runner.prompts[-1]
