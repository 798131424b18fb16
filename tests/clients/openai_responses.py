"""The openai package with the Responses API: its stream helper, `parse`, and a loop that sends output items back."""

from __future__ import annotations

import json
from typing import Any

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

client = OpenAI(base_url=URL, api_key="none", _strict_response_validation=True)
TOOL = {"type": "function", "strict": True, **WEATHER_TOOL["function"]}


class Person(BaseModel):
    name: str
    age: int


def plain() -> None:
    first = client.responses.create(model=MODEL, input="I am Bob.", temperature=0)
    items: list[Any] = [{"role": "user", "content": "I am Bob."}, *first.output, {"role": "user", "content": NAME}]
    equal(client.responses.create(model=MODEL, input=items, temperature=0).output_text, NAME_ANSWER)


def streamed() -> None:
    with client.responses.stream(model=MODEL, input=SUM, temperature=0) as stream:
        text = "".join(event.delta for event in stream if event.type == "response.output_text.delta")
        response = stream.get_final_response()
    equal((text, response.output_text, response.status), (SUM_ANSWER, SUM_ANSWER, "completed"))
    assert response.usage and response.usage.output_tokens > 0
    items: list[Any] = [{"role": "user", "content": SUM}, *response.output]
    items.append({"role": "user", "content": "What did I just ask?"})
    answer = client.responses.create(model=MODEL, input=items, temperature=0)
    equal(answer.output_text, f'You asked: "{SUM}"')


def tools() -> None:
    for stream in (False, True):
        items: list[Any] = [{"role": "user", "content": WEATHER}]
        for _ in range(2):
            response = _respond(stream, input=items, tools=[TOOL], temperature=0)
            items += response.output
            for item in response.output:
                if item.type == "function_call":
                    output = get_weather(**json.loads(item.arguments))
                    items.append({"type": "function_call_output", "call_id": item.call_id, "output": output})
        equal(response.output_text, WEATHER_ANSWER)


def _respond(stream: bool, **fields: Any) -> Any:
    if not stream:
        return client.responses.create(model=MODEL, **fields)
    with client.responses.stream(model=MODEL, **fields) as events:
        return events.get_final_response()


def structured() -> None:
    items: list[Any] = [{"role": "user", "content": PERSON}]
    for _ in range(2):
        response = client.responses.parse(model=MODEL, input=items, text_format=Person, temperature=0)
        equal(response.output_parsed, Person(**PERSON_ANSWER))
        items += [*response.output, {"role": "user", "content": PERSON}]


def logprobs() -> None:
    response = client.responses.create(
        model=MODEL, input=SUM, temperature=0, top_logprobs=2, include=["message.output_text.logprobs"]
    )
    entries = response.output[0].content[0].logprobs
    equal("".join(entry.token for entry in entries), SUM_ANSWER)
    assert all(len(entry.top_logprobs) == 2 for entry in entries)


def errors() -> None:
    for fields, param in (
        ({"input": "word " * 5000}, "input"),
        (
            {"input": [{"role": "user", "content": [{"type": "input_image", "image_url": "x"}]}]},
            "input.0.content.0.type",
        ),
        ({"input": "hi", "previous_response_id": "resp_1"}, "previous_response_id"),
        ({"input": "hi", "store": True}, "store"),
        ({"input": "hi", "tools": [{"type": "web_search"}]}, "tools.0.type"),
    ):
        try:
            client.responses.create(model=MODEL, **fields)
        except BadRequestError as error:
            equal(error.param, param)
        else:
            raise AssertionError(f"{param} was accepted")


run(plain, streamed, tools, structured, logprobs, errors)
