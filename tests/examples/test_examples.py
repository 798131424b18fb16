"""Every example runs against a real server. Its texts are those that the engine gives in process for the same seed."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from jaxchat import ChatError, Client, load
from tests.examples.languages import EXAMPLES, LANGUAGES, Example, MissingError
from tools.server_process import ServerProcess

LABELS = ("plain", "streamed", "seed", "call", "answer", "error", "deadline", "cancelled")
MODEL, SUM, WEATHER = "jaxchat-bundled", "What is 47 + 38?", "What is the weather in Oslo?"
PARAMETERS = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "unit": {"enum": ["celsius", "fahrenheit"]}},
    "required": ["city", "unit"],
    "additionalProperties": False,
}


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    with ServerProcess("--model", "bundled") as process:
        yield process


@pytest.fixture(scope="module")
def expected() -> dict[str, str]:
    """Returns what an example prints, by label, from answers of an engine in this process."""
    with load() as client:
        return {**plain(client), **tool(client), **refusal(client)} | {
            "deadline": "exceeded",
            "cancelled": "after 3 chunks",
        }


def plain(client: Client) -> dict[str, str]:
    messages = [{"role": "user", "content": SUM}]
    answer = client.chat.completions.create(model=MODEL, messages=messages, seed=7)
    text = answer.choices[0].message.content or ""
    return {"plain": text, "streamed": text, "seed": f"7, {answer.system_fingerprint}, same answer"}


def tool(client: Client) -> dict[str, str]:
    function = {"name": "get_weather", "parameters": PARAMETERS}
    request = {"model": MODEL, "temperature": 0, "tools": [{"type": "function", "function": function}]}
    messages = [{"role": "user", "content": WEATHER}]
    choice = {"type": "function", "function": {"name": "get_weather"}}
    message = client.chat.completions.create(messages=messages, tool_choice=choice, **request).choices[0].message
    [call] = message.tool_calls
    arguments = json.loads(call.function.arguments)
    result = '{"temperature": 18, "condition": "sunny"}'
    messages += [message, {"role": "tool", "tool_call_id": call.id, "content": result}]
    answer = client.chat.completions.create(messages=messages, **request).choices[0].message.content
    return {"call": f"get_weather city={arguments['city']} unit={arguments['unit']}", "answer": answer or ""}


def refusal(client: Client) -> dict[str, str]:
    with pytest.raises(ChatError) as refused:
        client.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": SUM}], temperature=9)
    return {"error": f"temperature: {refused.value.message}"}


def by_label(output: str) -> dict[str, str]:
    """Returns what an example printed after each label. A text may have several lines."""
    output = re.sub(r"\x1b\[[\d;]*m", "", output)  # Maven colours its output
    _, *parts = re.split(rf"^({'|'.join(LABELS)}): ", output, flags=re.MULTILINE)
    return {label: text.strip() for label, text in zip(parts[::2], parts[1::2], strict=True)}


@pytest.mark.exhaustive
@pytest.mark.parametrize("example", LANGUAGES, ids=lambda example: example.name)
def test_an_example_prints_the_answers_of_the_engine(
    example: Example, server: ServerProcess, expected: dict[str, str], tmp_path: Path
) -> None:
    try:
        example.install(tmp_path)
    except MissingError as missing:
        pytest.skip(f"{example.name}: {missing}")
    assert by_label(example.output(tmp_path, server.grpc)) == expected
    assert server.becomes_idle(), "the deadline or the cancelled stream left its answer running"


def test_every_folder_of_examples_is_run_and_described() -> None:
    folders = {path.name for path in EXAMPLES.iterdir() if path.is_dir()}
    assert folders == {example.folder for example in LANGUAGES}
    table = (EXAMPLES / "README.md").read_text("utf-8")
    assert all(f"({folder})" in table or f"({folder}/)" in table for folder in folders)
