"""litellm: its messages, and the exception from which its routers fall back to a model with a longer context."""

from __future__ import annotations

import json

import litellm
from checks import (
    MODEL,
    NAME,
    NAME_ANSWER,
    PERSON,
    PERSON_ANSWER,
    SUM,
    SUM_ANSWER,
    URL,
    WEATHER,
    WEATHER_ANSWER,
    WEATHER_TOOL,
    equal,
    get_weather,
    run,
)
from pydantic import BaseModel

server = {"model": f"openai/{MODEL}", "api_base": URL, "api_key": "none", "temperature": 0}


class Person(BaseModel):
    name: str
    age: int


def plain() -> None:
    messages: list = [{"role": "user", "content": "I am Bob."}]
    messages.append(litellm.completion(messages=messages, **server).choices[0].message)
    messages.append({"role": "user", "content": NAME})
    equal(litellm.completion(messages=messages, **server).choices[0].message.content, NAME_ANSWER)


def streamed() -> None:
    messages: list = [{"role": "user", "content": SUM}]
    chunks = list(litellm.completion(messages=messages, stream=True, **server))
    equal("".join(chunk.choices[0].delta.content or "" for chunk in chunks), SUM_ANSWER)
    messages.append(litellm.stream_chunk_builder(chunks, messages=messages).choices[0].message)
    messages.append({"role": "user", "content": "What did I just ask?"})
    answer = litellm.completion(messages=messages, **server)
    equal(answer.choices[0].message.content, f'You asked: "{SUM}"')


def tools() -> None:
    messages: list = [{"role": "user", "content": WEATHER}]
    message = litellm.completion(messages=messages, tools=[WEATHER_TOOL], **server).choices[0].message
    messages.append(message)
    for call in message.tool_calls:
        result = get_weather(**json.loads(call.function.arguments))
        messages.append({"role": "tool", "tool_call_id": call.id, "name": call.function.name, "content": result})
    answer = litellm.completion(messages=messages, tools=[WEATHER_TOOL], **server)
    equal(answer.choices[0].message.content, WEATHER_ANSWER)


def structured() -> None:
    messages = [{"role": "user", "content": PERSON}]
    answer = litellm.completion(messages=messages, response_format=Person, **server)
    equal(json.loads(answer.choices[0].message.content), PERSON_ANSWER)


def overflow() -> None:
    try:
        litellm.completion(messages=[{"role": "user", "content": "word " * 5000}], **server)
    except litellm.ContextWindowExceededError:
        return
    raise AssertionError("a prompt that exceeds the context was accepted")


run(plain, streamed, tools, structured, overflow)
