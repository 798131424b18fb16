"""strands: agents over its OpenAI model."""

from __future__ import annotations

import asyncio

import strands
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
    equal,
    get_weather,
    run,
)
from pydantic import BaseModel
from strands import Agent
from strands.models.openai import OpenAIModel


class Person(BaseModel):
    """A person."""

    name: str
    age: int


def agent(**settings: object) -> Agent:
    model = OpenAIModel(
        client_args={"base_url": URL, "api_key": "none"}, model_id=MODEL, params={"temperature": 0, "max_tokens": 200}
    )
    return Agent(model=model, callback_handler=None, **settings)


def plain() -> None:
    assistant = agent()
    assistant("I am Bob.")
    equal(str(assistant(NAME)).strip(), NAME_ANSWER)


def streamed() -> None:
    async def read() -> list[str]:
        return [event["data"] async for event in agent().stream_async(SUM) if "data" in event]

    texts = asyncio.run(read())
    assert len(texts) > 1
    equal("".join(texts), SUM_ANSWER)


def tools() -> None:
    assistant = agent(tools=[strands.tool(get_weather)])
    equal(str(assistant(WEATHER)).strip(), WEATHER_ANSWER)
    equal(str(assistant(WEATHER)).strip(), WEATHER_ANSWER)


def structured() -> None:
    """Repeats the question where strands asks for a call, because the bundled model does not know its words."""
    result = agent()(PERSON, structured_output_model=Person, structured_output_prompt=PERSON)
    equal(result.structured_output, Person(**PERSON_ANSWER))


run(plain, streamed, tools, structured)
