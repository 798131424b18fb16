"""The requests of the Codex command line: streamed, nothing stored, function tools, calls and their outputs as items.

Has the fields that Codex sends to a server of one's choice. `web_search = "disabled"` in its configuration leaves out
the hosted tool.
"""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator
from typing import Any

from checks import MODEL, SUM, SUM_ANSWER, URL, WEATHER, WEATHER_ANSWER, WEATHER_TOOL, equal, get_weather, run

GROUP = {
    "type": "namespace",
    "name": "mcp__files",
    "description": "Tools of the server files.",
    "tools": [{"type": "function", "name": "read", "description": "Read a file.", "strict": False, "parameters": {"type": "object", "properties": {}}}],
}
WEATHER_FUNCTION = {"type": "function", "strict": False, **WEATHER_TOOL["function"]}


def user(text: str) -> dict[str, Any]:
    return {"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}]}


def events(items: list[dict[str, Any]], tools: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yields the events of an answer, and checks that the `event:` lines have their types."""
    body = {
        "model": MODEL,
        "instructions": "",
        "input": items,
        "tools": tools,
        "tool_choice": "auto",
        "parallel_tool_calls": False,
        "reasoning": None,
        "store": False,
        "stream": True,
        "include": ["reasoning.encrypted_content"],
        "prompt_cache_key": "0199a213-81c0-7800-8aa1-bbab2a035a53",
        "client_metadata": {"x-codex-installation-id": "0199a213"},
        "temperature": 0,  # which a model provider's settings may add
    }
    headers = {"content-type": "application/json", "accept": "text/event-stream"}
    request = urllib.request.Request(f"{URL}/responses", json.dumps(body).encode(), headers)
    with urllib.request.urlopen(request) as reply:
        for block in reply.read().decode().strip().split("\n\n"):
            name, data = block.split("\n")
            event = json.loads(data.removeprefix("data: "))
            equal(name, f"event: {event['type']}")
            yield event


def turn(items: list[dict[str, Any]], tools: list[dict[str, Any]]) -> str:
    """Sends the items, appends the answer's items without their ids, and returns the text."""
    received = list(events(items, tools))
    equal(received[-1]["type"], "response.completed")
    assert received[-1]["response"]["usage"]["total_tokens"] > 0
    text = ""
    for event in received:
        if event["type"] == "response.output_item.done":
            items.append({key: value for key, value in event["item"].items() if key not in ("id", "status")})
        if event["type"] == "response.output_text.delta":
            text += event["delta"]
    return text


def streamed() -> None:
    items = [user(SUM)]
    equal(turn(items, []), SUM_ANSWER)
    items.append(user("What did I just ask?"))
    equal(turn(items, []), f'You asked: "{SUM}"')


def tools() -> None:
    items = [user(WEATHER)]
    turn(items, [WEATHER_FUNCTION])
    call = items[-1]
    equal((call["type"], call["name"]), ("function_call", "get_weather"))
    output = get_weather(**json.loads(call["arguments"]))
    items.append({"type": "function_call_output", "call_id": call["call_id"], "output": output})
    equal(turn(items, [WEATHER_FUNCTION]), WEATHER_ANSWER)


def namespaces() -> None:
    items = [user(SUM)]
    assert isinstance(turn(items, [WEATHER_FUNCTION, GROUP]), str)


run(streamed, tools, namespaces)
