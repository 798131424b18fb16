"""jaxchat over gRPC with generated stubs, without the package jaxchat: `python stubs.py [HOST:PORT]`."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import grpc
from google.rpc import error_details_pb2
from grpc_status import rpc_status

sys.path.insert(0, str(Path(__file__).parent / "gen"))  # written by generate.sh

from jaxchat.v1 import chat_pb2, service_pb2_grpc

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
FUNCTION = chat_pb2.FunctionDefinition(name="get_weather", parameters=json.dumps(PARAMETERS))
TOOL = chat_pb2.Tool(type=chat_pb2.TOOL_TYPE_FUNCTION, function=FUNCTION)


@dataclass(frozen=True)
class Weather:
    """Arguments of the tool. The server only returns calls that satisfy the schema."""

    city: str
    unit: Literal["celsius", "fahrenheit"]


def request(*messages: chat_pb2.ChatMessage, **fields: Any) -> chat_pb2.ChatCompletionRequest:
    return chat_pb2.ChatCompletionRequest(model=MODEL, messages=messages, **fields)


def user(text: str) -> chat_pb2.ChatMessage:
    return chat_pb2.ChatMessage(role=chat_pb2.ROLE_USER, text=text)


def answers(chat: service_pb2_grpc.ChatServiceStub) -> None:
    """Asks the same question twice, plain and streamed: the same seed gives the same text."""
    question = request(user(SUM), seed=7)
    plain = chat.Complete(question)
    print("plain:", plain.choices[0].message.content)
    text, fingerprint = "", ""
    for chunk in chat.Stream(question):
        fingerprint = chunk.system_fingerprint
        for choice in chunk.choices:  # empty in a chunk that only has the usage
            text += choice.delta.content
    print("streamed:", text)
    same = text == plain.choices[0].message.content and fingerprint == plain.system_fingerprint
    print(f"seed: {plain.seed_used}, {fingerprint}, {'same' if same else 'other'} answer")


def tools(chat: service_pb2_grpc.ChatServiceStub) -> None:
    named = chat_pb2.NamedToolChoice(type=chat_pb2.TOOL_TYPE_FUNCTION, name="get_weather")
    forced = chat_pb2.ToolChoice(named=named)
    question = request(user(WEATHER), tools=[TOOL], tool_choice=forced, temperature=0)
    message = chat.Complete(question).choices[0].message
    history = [user(WEATHER), chat_pb2.ChatMessage(role=message.role, tool_calls=message.tool_calls)]
    for call in message.tool_calls:
        arguments = Weather(**json.loads(call.function.arguments))
        print(f"call: {call.function.name} city={arguments.city} unit={arguments.unit}")
        history.append(chat_pb2.ChatMessage(role=chat_pb2.ROLE_TOOL, tool_call_id=call.id, text=RESULT))
    answer = chat.Complete(request(*history, tools=[TOOL], temperature=0))
    print("answer:", answer.choices[0].message.content)


def error(chat: service_pb2_grpc.ChatServiceStub) -> None:
    try:
        chat.Complete(request(user(SUM), temperature=9))
    except grpc.RpcError as refused:
        status = rpc_status.from_call(refused)
        details = error_details_pb2.BadRequest()
        for detail in status.details:
            if detail.Unpack(details):
                for violation in details.field_violations:
                    print(f"error: {violation.field}: {violation.description}")


def limits(chat: service_pb2_grpc.ChatServiceStub) -> None:
    """Ends two answers early, which frees the server for others at once."""
    endless = request(user(SUM), ignore_eos=True)
    try:
        chat.Complete(endless, timeout=0.1)
    except grpc.RpcError as late:
        print("deadline:", "exceeded" if late.code() is grpc.StatusCode.DEADLINE_EXCEEDED else late)
    chunks, stream = 0, chat.Stream(endless)
    for _ in stream:
        chunks += 1
        if chunks == 3:
            stream.cancel()
            break
    print(f"cancelled: after {chunks} chunks")


def main() -> None:
    with grpc.insecure_channel(sys.argv[1] if len(sys.argv) > 1 else "localhost:50051") as channel:
        chat = service_pb2_grpc.ChatServiceStub(channel)
        for example in (answers, tools, error, limits):
            example(chat)


if __name__ == "__main__":
    main()
