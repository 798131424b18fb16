"""smolagents: its model for servers that are like OpenAI's, and an agent that calls tools."""

from __future__ import annotations

import copy
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
    equal,
    run,
)
from smolagents import ChatMessage, OpenAIModel, ToolCallingAgent, tool
from smolagents.agents import EMPTY_PROMPT_TEMPLATES

model = OpenAIModel(model_id=MODEL, api_base=URL, api_key="none", temperature=0, max_tokens=200)
SCHEMA = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "age": {"type": "integer"}},
    "required": ["name", "age"],
}


@tool
def get_weather(city: str) -> str:
    """Get the current weather in a city.

    Args:
        city: The city.
    """
    return json.dumps({"temperature": 18, "condition": "sunny", "city": city})


def user(text: str) -> ChatMessage:
    return ChatMessage(role="user", content=[{"type": "text", "text": text}])


def plain() -> None:
    messages = [user("I am Bob.")]
    text = model.generate(messages).content
    messages += [ChatMessage(role="assistant", content=[{"type": "text", "text": text}]), user(NAME)]
    equal(model.generate(messages).content, NAME_ANSWER)


def streamed() -> None:
    equal("".join(delta.content or "" for delta in model.generate_stream([user(SUM)])), SUM_ANSWER)


def tools() -> None:
    """Runs an agent for two steps. It requires a call in each, so the bundled model cannot end in words."""
    agent = ToolCallingAgent(
        tools=[get_weather],
        model=model,
        max_steps=2,
        prompt_templates=copy.deepcopy(EMPTY_PROMPT_TEMPLATES),
        verbosity_level=0,
    )
    agent.run(WEATHER)
    first = agent.memory.steps[1]
    equal([(call.name, call.arguments) for call in first.tool_calls], [("get_weather", {"city": "Oslo"})])
    assert "sunny" in first.observations


def structured() -> None:
    response_format = {"type": "json_schema", "json_schema": {"name": "person", "schema": SCHEMA, "strict": True}}
    answer = model.generate([user(PERSON)], response_format=response_format)
    equal(json.loads(answer.content), PERSON_ANSWER)


run(plain, streamed, tools, structured)
