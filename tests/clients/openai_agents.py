"""The OpenAI Agents SDK with its chat completions model."""

from __future__ import annotations

import asyncio

from agents import (
    Agent,
    ModelSettings,
    OpenAIChatCompletionsModel,
    Runner,
    function_tool,
    set_tracing_disabled,
)
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
from openai import AsyncOpenAI
from pydantic import BaseModel

set_tracing_disabled(True)


class Person(BaseModel):
    name: str
    age: int


def agent(**settings: object) -> Agent:
    model = OpenAIChatCompletionsModel(MODEL, openai_client=AsyncOpenAI(base_url=URL, api_key="none"))
    return Agent(name="Assistant", model=model, model_settings=ModelSettings(temperature=0), **settings)


def plain() -> None:
    first = Runner.run_sync(agent(), "I am Bob.")
    second = Runner.run_sync(agent(), [*first.to_input_list(), {"role": "user", "content": NAME}])
    equal(second.final_output, NAME_ANSWER)


def streamed() -> None:
    async def read() -> list[str]:
        result = Runner.run_streamed(agent(), SUM)
        events = [event async for event in result.stream_events() if event.type == "raw_response_event"]
        return [event.data.delta for event in events if event.data.type == "response.output_text.delta"]

    texts = asyncio.run(read())
    assert len(texts) > 1
    equal("".join(texts), SUM_ANSWER)


def tools() -> None:
    first = Runner.run_sync(agent(tools=[function_tool(get_weather)]), WEATHER)
    equal(first.final_output, WEATHER_ANSWER)
    messages = [*first.to_input_list(), {"role": "user", "content": WEATHER}]
    equal(Runner.run_sync(agent(tools=[function_tool(get_weather)]), messages).final_output, WEATHER_ANSWER)


def structured() -> None:
    equal(Runner.run_sync(agent(output_type=Person), PERSON).final_output, Person(**PERSON_ANSWER))


run(plain, streamed, tools, structured)
