"""The Python client of jaxchat over gRPC: `python light.py [HOST:PORT]`."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from typing import Any, Literal

import jaxchat

MODEL = "jaxchat-bundled"
SUM = "What is 47 + 38?"
WEATHER = "What is the weather in Oslo?"
RESULT = '{"temperature": 18, "condition": "sunny"}'
PARAMETERS = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "unit": {"enum": ["celsius", "fahrenheit"]}},
    "required": ["city", "unit"],
    "additionalProperties": False,
}
TOOL = {"type": "function", "function": {"name": "get_weather", "parameters": PARAMETERS}}


@dataclass(frozen=True)
class Weather:
    """Arguments of the tool. The server only returns calls that satisfy the schema."""

    city: str
    unit: Literal["celsius", "fahrenheit"]


def user(text: str) -> dict[str, Any]:
    return {"role": "user", "content": text}


def answers(client: jaxchat.Client) -> None:
    """Asks the same question twice, plain and streamed: the same seed gives the same text."""
    request: dict[str, Any] = {"model": MODEL, "messages": [user(SUM)], "seed": 7}
    plain = client.chat.completions.create(**request)
    print("plain:", plain.choices[0].message.content)
    text, fingerprint = "", ""
    for chunk in client.chat.completions.create(**request, stream=True):
        fingerprint = chunk.system_fingerprint
        for choice in chunk.choices:  # empty in a chunk that only has the usage
            text += choice.delta.content or ""
    print("streamed:", text)
    same = text == plain.choices[0].message.content and fingerprint == plain.system_fingerprint
    print(f"seed: {plain.seed_used}, {fingerprint}, {'same' if same else 'other'} answer")


def tools(client: jaxchat.Client) -> None:
    messages = [user(WEATHER)]
    request: dict[str, Any] = {"model": MODEL, "tools": [TOOL], "temperature": 0}
    choice = {"type": "function", "function": {"name": "get_weather"}}
    message = client.chat.completions.create(messages=messages, tool_choice=choice, **request).choices[0].message
    messages.append(message)
    for call in message.tool_calls or ():
        arguments = Weather(**json.loads(call.function.arguments))
        print(f"call: {call.function.name} city={arguments.city} unit={arguments.unit}")
        messages.append({"role": "tool", "tool_call_id": call.id, "content": RESULT})
    print("answer:", client.chat.completions.create(messages=messages, **request).choices[0].message.content)


def error(client: jaxchat.Client) -> None:
    try:
        client.chat.completions.create(model=MODEL, messages=[user(SUM)], temperature=9)
    except jaxchat.ChatError as refused:
        print(f"error: {refused.param}: {refused.message}")


def limits(client: jaxchat.Client) -> None:
    """Ends two answers early, which frees the server for others at once."""
    request: dict[str, Any] = {"model": MODEL, "messages": [user(SUM)], "ignore_eos": True}
    try:
        client.chat.completions.create(**request, timeout=0.1)
    except jaxchat.ChatError as late:
        print("deadline:", "exceeded" if late.http_status == 504 else late)
    chunks = 0
    with client.chat.completions.create(**request, stream=True) as stream:
        for _ in stream:
            chunks += 1
            if chunks == 3:
                break
    print(f"cancelled: after {chunks} chunks")


def main() -> None:
    with jaxchat.Client(sys.argv[1] if len(sys.argv) > 1 else "localhost:50051") as client:
        for example in (answers, tools, error, limits):
            example(client)


if __name__ == "__main__":
    main()
