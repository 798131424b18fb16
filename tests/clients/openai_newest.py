"""The openai package: its stream helper, a tool loop with accumulated deltas, and `parse` with a history."""

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
from openai import BadRequestError, OpenAI
from pydantic import BaseModel

client = OpenAI(base_url=URL, api_key="none")


class Person(BaseModel):
    name: str
    age: int


def plain() -> None:
    equal([model.id for model in client.models.list()], [MODEL])
    messages: list = [{"role": "user", "content": "I am Bob."}]
    answer = client.chat.completions.create(model=MODEL, messages=messages, temperature=0)
    messages += [answer.choices[0].message, {"role": "user", "content": NAME}]
    answer = client.chat.completions.create(model=MODEL, messages=messages, temperature=0)
    equal(answer.choices[0].message.content, NAME_ANSWER)


def streamed() -> None:
    messages: list = [{"role": "user", "content": SUM}]
    options = {"include_usage": True}
    with client.chat.completions.stream(
        model=MODEL, messages=messages, temperature=0, stream_options=options
    ) as stream:
        text = "".join(event.delta for event in stream if event.type == "content.delta")
        completion = stream.get_final_completion()
    equal(text, SUM_ANSWER)
    assert completion.usage and completion.usage.completion_tokens > 0
    messages += [completion.choices[0].message, {"role": "user", "content": "What did I just ask?"}]
    answer = client.chat.completions.create(model=MODEL, messages=messages, temperature=0)
    equal(answer.choices[0].message.content, f'You asked: "{SUM}"')


def tools() -> None:
    messages: list = [{"role": "user", "content": WEATHER}]
    tool = WEATHER_TOOL["function"] | {
        "strict": True,
        "parameters": WEATHER_TOOL["function"]["parameters"] | {"additionalProperties": False},
    }
    for _ in range(2):
        with client.chat.completions.stream(
            model=MODEL, messages=messages, tools=[{"type": "function", "function": tool}], temperature=0
        ) as stream:
            message = stream.get_final_completion().choices[0].message
        messages.append(message)
        for call in message.tool_calls or ():
            result = get_weather(**json.loads(call.function.arguments))
            messages.append({"role": "tool", "tool_call_id": call.id, "content": result})
    equal(message.content, WEATHER_ANSWER)


def structured() -> None:
    messages: list = [{"role": "user", "content": PERSON}]
    for _ in range(2):
        answer = client.chat.completions.parse(model=MODEL, messages=messages, response_format=Person, temperature=0)
        equal(answer.choices[0].message.parsed, Person(**PERSON_ANSWER))
        messages += [answer.choices[0].message, {"role": "user", "content": PERSON}]


def errors() -> None:
    try:
        client.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": "word " * 5000}])
    except BadRequestError as error:
        equal(error.code, "context_length_exceeded")
    else:
        raise AssertionError("a prompt that exceeds the context was accepted")


run(plain, streamed, tools, structured, errors)
