"""The openai package of early 2024: before `parse`, with JSON mode."""

from __future__ import annotations

import json

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
from openai import OpenAI

client = OpenAI(base_url=URL, api_key="none")


def plain() -> None:
    messages: list = [{"role": "user", "content": "I am Bob."}]
    answer = client.chat.completions.create(model=MODEL, messages=messages, temperature=0)
    messages += [answer.choices[0].message, {"role": "user", "content": NAME}]
    answer = client.chat.completions.create(model=MODEL, messages=messages, temperature=0)
    equal(answer.choices[0].message.content, NAME_ANSWER)


def streamed() -> None:
    messages = [{"role": "user", "content": SUM}]
    chunks = list(client.chat.completions.create(model=MODEL, messages=messages, temperature=0, stream=True))
    equal("".join(chunk.choices[0].delta.content or "" for chunk in chunks), SUM_ANSWER)
    equal(chunks[-1].choices[0].finish_reason, "stop")


def tools() -> None:
    messages: list = [{"role": "user", "content": WEATHER}]
    while True:
        answer = client.chat.completions.create(model=MODEL, messages=messages, tools=[WEATHER_TOOL], temperature=0)
        message = answer.choices[0].message
        messages.append(message)
        if not message.tool_calls:
            break
        for call in message.tool_calls:
            result = get_weather(**json.loads(call.function.arguments))
            messages.append({"role": "tool", "tool_call_id": call.id, "content": result})
    equal(message.content, WEATHER_ANSWER)
    equal(len(messages), 4)


def structured() -> None:
    messages = [{"role": "user", "content": PERSON}]
    answer = client.chat.completions.create(
        model=MODEL, messages=messages, temperature=0, response_format={"type": "json_object"}
    )
    equal(json.loads(answer.choices[0].message.content or ""), PERSON_ANSWER)


run(plain, streamed, tools, structured)
