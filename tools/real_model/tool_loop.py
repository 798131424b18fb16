"""Runs a conversation of three turns with a tool through `openai`, LangChain and jaxchat's client, on one server.

The clients send the model's own messages back, so their transcripts must be equal.
"""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from openai import OpenAI

import jaxchat
from tools.server_process import ServerProcess

QUESTIONS = ["What is the weather in Oslo?", "And in Lisbon?", "Which of the two cities is warmer?"]
WEATHER = {"oslo": "4 degrees, snow", "lisbon": "19 degrees, sunny"}
WEATHER["lisboa"] = WEATHER["lisbon"]
TOOL = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Returns the current weather of a city.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}
SAMPLING: dict[str, Any] = {"temperature": 0, "max_completion_tokens": 100}

Transcript = list[str]


def choices(question: str) -> list[str]:
    """Returns the tool choice of each request of one turn.

    Calls are required, because a small model seldom calls a tool by itself.
    """
    return ["none"] if question == QUESTIONS[-1] else ["required", "none"]


def weather(city: str) -> str:
    """Returns the weather of a city as text, or "unknown city"."""
    return WEATHER.get(city.split(",")[0].lower(), "unknown city")


def converse(create: Any) -> Transcript:
    """Runs the turns and returns their transcript. `create` is `chat.completions.create` of a client."""
    messages: list[Any] = []
    transcript: Transcript = []
    for question in QUESTIONS:
        messages.append({"role": "user", "content": question})
        for tool_choice in choices(question):
            answer = create(messages=messages, tools=[TOOL], tool_choice=tool_choice, **SAMPLING)
            message = answer.choices[0].message
            messages.append(message)
            for call in message.tool_calls or []:
                result = weather(**json.loads(call.function.arguments))
                transcript.append(f"{call.function.name}({json.loads(call.function.arguments)}) = {result}")
                messages.append({"role": "tool", "tool_call_id": call.id, "content": result})
        transcript.append(message.content or "")
    return transcript


@tool
def get_weather(city: str) -> str:
    """Returns the current weather of a city."""
    return weather(city)


def converse_langchain(server: ServerProcess) -> Transcript:
    """Has the same conversation as `converse`, but through LangChain's `ChatOpenAI`. Returns its transcript."""
    chat = ChatOpenAI(model=server.model, base_url=server.rest, api_key="-", **SAMPLING)
    messages: list[BaseMessage] = []
    transcript: Transcript = []
    for question in QUESTIONS:
        messages.append(HumanMessage(question))
        for tool_choice in choices(question):
            answer = chat.bind_tools([TOOL], tool_choice=tool_choice).invoke(messages)
            assert isinstance(answer, AIMessage)
            messages.append(answer)
            for call in answer.tool_calls:
                result = get_weather.invoke(call)
                assert isinstance(result, ToolMessage)
                transcript.append(f"{call['name']}({call['args']}) = {result.text}")
                messages.append(result)
        transcript.append(answer.text)
    return transcript


def transcripts(server: ServerProcess) -> dict[str, Transcript]:
    """Returns the transcript of each client, by the client's name."""
    rest = OpenAI(base_url=server.rest, api_key="-").chat.completions.create
    with jaxchat.Client(server.grpc) as client:
        return {
            "openai": converse(partial(rest, model=server.model)),
            "langchain": converse_langchain(server),
            "gRPC": converse(partial(client.chat.completions.create, model=server.model)),
        }


def compare(folder: Path) -> bool:
    """Prints the transcripts. Returns whether they are equal and the tool was called for each city."""
    server = ServerProcess("--model", str(folder), "--max-seq-len", "2048")
    try:
        found = transcripts(server)
    finally:
        server.stop()
    for name, transcript in found.items():
        print(f"{name}:", *transcript, sep="\n  ")
    first, *others = found.values()
    called = all(any(result in line for line in first) for result in WEATHER.values())
    return called and all(other == first for other in others)
