"""guidance: blocks of a conversation, and values under a JSON Schema."""

from __future__ import annotations

import json

import guidance
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
    run,
)
from guidance import assistant, gen, user
from pydantic import BaseModel


class Person(BaseModel):
    name: str
    age: int


def model() -> guidance.models.OpenAI:
    return guidance.models.OpenAI(MODEL, api_key="none", base_url=URL, echo=False)


def plain() -> None:
    lm = model()
    with user():
        lm += "I am Bob."
    with assistant():
        lm += gen("greeting", temperature=0)
    with user():
        lm += NAME
    with assistant():
        lm += gen("answer", temperature=0)
    equal(lm["answer"], NAME_ANSWER)


@guidance.guidance
def conversation(lm: guidance.models.OpenAI) -> guidance.models.OpenAI:
    with user():
        lm += SUM
    with assistant():
        lm += gen("answer", temperature=0)
    return lm


def streamed() -> None:
    states = list(model().stream() + conversation())
    assert len(states) > 1
    equal(states[-1]["answer"], SUM_ANSWER)


def tools() -> None:
    """Lets the model call a tool, where guidance supports neither a temperature nor a name, and then answer."""

    def get_weather(city: str) -> dict[str, object]:
        """Get the current weather in a city."""
        equal(city, "Oslo")
        return {"temperature": 18, "condition": "sunny"}

    with user():
        lm = model() + WEATHER
    with assistant():
        lm += gen(tools=[get_weather])
    with assistant():
        lm += gen("answer", temperature=0)
    equal(lm["answer"], WEATHER_ANSWER)


def structured() -> None:
    with user():
        lm = model() + PERSON
    with assistant():
        lm += guidance.json("person", schema=Person, temperature=0)
    equal(json.loads(lm["person"]), PERSON_ANSWER)


run(plain, streamed, tools, structured)
