"""The legacy functions: one call, in the form that came before tools."""

from __future__ import annotations

import json

import jsonschema
import pytest

from tests.contract.covering import covers
from tests.contract.doors import Door
from tests.contract.echo import EchoRunner
from tests.contract.place import Place
from tests.contract.test_calls import ENOUGH, PET, TOOLS

FUNCTIONS = [tool["function"] for tool in TOOLS]
CALL = '<tool_call>\n{"name": "place", "arguments": {"city":"Rom"}}\n</tool_call>'


def message_and_functions(text: str) -> dict:
    return {"messages": [{"role": "user", "content": text}], "functions": FUNCTIONS}


@covers("ChatCompletionRequest.functions", "AssistantMessage.function_call", "Delta.function_call")
def test_the_model_may_call_one(echo: Door, runner: EchoRunner) -> None:
    (said,) = echo.ask(**message_and_functions(f"Well.\n{CALL}")).choices
    assert "maxLength" in runner.prompts[-1], "the model sees the functions"
    assert (said.text, said.finish, said.calls) == ("Well.", "function_call", [])
    assert said.function and (said.function.name, said.function.arguments) == ("place", '{"city":"Rom"}')
    (said,) = echo.ask(**message_and_functions("Well.")).choices
    assert (said.text, said.finish, said.function) == ("Well.", "stop", None)


@covers("ChatCompletionRequest.function_call", "FunctionCallChoice.mode")
@pytest.mark.parametrize("mode", ["none", "auto"])
def test_modes(echo: Door, runner: EchoRunner, mode: str) -> None:
    assert echo.ask(**message_and_functions("Well."), function_call=mode).text == "Well."
    assert ("maxLength" in runner.prompts[-1]) == (mode == "auto")


@covers("FunctionCallChoice.name")
def test_a_named_function_is_called(door: Door) -> None:
    for seed in range(3):
        answer = door.ask(functions=FUNCTIONS, function_call={"name": "pet"}, seed=seed, max_tokens=ENOUGH, n=2)
        for said in answer.choices:
            assert said.function and not said.text and said.finish == "function_call"
            assert said.function.name == "pet"
            jsonschema.validate(json.loads(said.function.arguments), PET)


def test_the_json_of_a_call(echo_place: Place) -> None:
    body = {"model": "echo", **message_and_functions(CALL)}
    (choice,) = echo_place.http.post("/v1/chat/completions", json=body).json()["choices"]
    call = {"name": "place", "arguments": '{"city":"Rom"}'}
    assert choice["message"] == {"role": "assistant", "content": None, "function_call": call}


def test_a_result_flows_back(echo: Door, runner: EchoRunner) -> None:
    call = {"name": "now", "arguments": "{}"}
    history = [{"role": "assistant", "content": None, "function_call": call}]
    history += [{"role": "function", "name": "now", "content": "noon"}]
    echo.ask(messages=[{"role": "user", "content": "hi"}, *history], functions=FUNCTIONS)
    assert '<tool_call>{"name": "now", "arguments": {}}</tool_call>' in runner.prompts[-1]
    assert "noon" in runner.prompts[-1]
