"""langchain-openai, and an agent of langchain that runs on langgraph."""

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
    equal,
    get_weather,
    run,
)
from langchain.agents import create_agent
from langchain_core.messages import HumanMessage
from langchain_openai import ChatOpenAI
from pydantic import BaseModel

model = ChatOpenAI(model=MODEL, base_url=URL, api_key="none", temperature=0, use_responses_api=False)


class Person(BaseModel):
    name: str
    age: int


def plain() -> None:
    messages: list = [HumanMessage("I am Bob.")]
    messages += [model.invoke(messages), HumanMessage(NAME)]
    answer = model.invoke(messages)
    equal(answer.content, NAME_ANSWER)
    assert answer.usage_metadata and answer.usage_metadata["output_tokens"] > 0


def streamed() -> None:
    question = HumanMessage(SUM)
    chunks = list(model.stream([question]))
    assert len(chunks) > 1
    message = chunks[0]
    for chunk in chunks[1:]:
        message += chunk
    equal(message.content, SUM_ANSWER)
    answer = model.invoke([question, message, HumanMessage("What did I just ask?")])
    equal(answer.content, f'You asked: "{SUM}"')


def tools() -> None:
    agent = create_agent(model, tools=[get_weather])
    messages = agent.invoke({"messages": [HumanMessage(WEATHER)]})["messages"]
    equal(messages[-1].content, WEATHER_ANSWER)
    equal(len(messages), 4)
    again = agent.invoke({"messages": [*messages, HumanMessage(WEATHER)]})["messages"]
    assert json.loads(again[-2].content)["condition"] == "sunny"
    equal(again[-1].content, WEATHER_ANSWER)


def structured() -> None:
    for method in ("json_schema", "function_calling", "json_mode"):
        person = model.with_structured_output(Person, method=method).invoke(PERSON)
        equal(person, Person(**PERSON_ANSWER))


run(plain, streamed, tools, structured)
