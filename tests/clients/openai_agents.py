"""The OpenAI Agents SDK with its default model, which calls `/v1/responses`, and with its chat completions model."""

from __future__ import annotations

import asyncio

from agents import (
    Agent,
    ModelSettings,
    OpenAIChatCompletionsModel,
    Runner,
    function_tool,
    set_default_openai_client,
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


def models() -> tuple[object, ...]:
    """Returns the default model and the one for chat completions. Their client belongs to one asyncio loop."""
    client = AsyncOpenAI(base_url=URL, api_key="none")
    set_default_openai_client(client)
    return MODEL, OpenAIChatCompletionsModel(MODEL, openai_client=client)


def agent(model: object, **settings: object) -> Agent:
    return Agent(name="Assistant", model=model, model_settings=ModelSettings(temperature=0), **settings)


def plain() -> None:
    for model in models():
        first = Runner.run_sync(agent(model), "I am Bob.")
        second = Runner.run_sync(agent(model), [*first.to_input_list(), {"role": "user", "content": NAME}])
        equal(second.final_output, NAME_ANSWER)


def streamed() -> None:
    async def read() -> None:
        for model in models():
            result = Runner.run_streamed(agent(model), SUM)
            events = [event async for event in result.stream_events() if event.type == "raw_response_event"]
            texts = [event.data.delta for event in events if event.data.type == "response.output_text.delta"]
            assert len(texts) > 1
            equal("".join(texts), SUM_ANSWER)

    asyncio.run(read())


def tools() -> None:
    for model in models():
        first = Runner.run_sync(agent(model, tools=[function_tool(get_weather)]), WEATHER)
        equal(first.final_output, WEATHER_ANSWER)
        messages = [*first.to_input_list(), {"role": "user", "content": WEATHER}]
        second = Runner.run_sync(agent(model, tools=[function_tool(get_weather)]), messages)
        equal(second.final_output, WEATHER_ANSWER)


def structured() -> None:
    for model in models():
        equal(Runner.run_sync(agent(model, output_type=Person), PERSON).final_output, Person(**PERSON_ANSWER))


run(plain, streamed, tools, structured)
