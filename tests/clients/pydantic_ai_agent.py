"""pydantic-ai: agents over the chat completions model, with a history, tools and outputs of two kinds."""

from __future__ import annotations

import asyncio

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
from pydantic_ai import Agent, NativeOutput, ToolOutput
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider
from pydantic_ai.settings import ModelSettings

model = OpenAIChatModel(MODEL, provider=OpenAIProvider(base_url=URL, api_key="none"))
settings = ModelSettings(temperature=0)


class Person(BaseModel):
    name: str
    age: int


def plain() -> None:
    agent = Agent(model, model_settings=settings)
    first = agent.run_sync("I am Bob.")
    equal(agent.run_sync(NAME, message_history=first.all_messages()).output, NAME_ANSWER)


def streamed() -> None:
    async def read() -> list[str]:
        async with Agent(model, model_settings=settings).run_stream(SUM) as result:
            return [text async for text in result.stream_text(delta=True, debounce_by=None)]

    texts = asyncio.run(read())
    assert len(texts) > 1
    equal("".join(texts), SUM_ANSWER)


def tools() -> None:
    agent = Agent(model, model_settings=settings, tools=[get_weather])
    first = agent.run_sync(WEATHER)
    equal(first.output, WEATHER_ANSWER)
    equal(agent.run_sync(WEATHER, message_history=first.all_messages()).output, WEATHER_ANSWER)


def structured() -> None:
    for output in (NativeOutput(Person), ToolOutput(Person)):
        result = Agent(model, model_settings=settings, output_type=output).run_sync(PERSON)
        equal(result.output, Person(**PERSON_ANSWER))


run(plain, streamed, tools, structured)
