"""llama-index with its class for OpenAI's Responses API, and its agent."""

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
from llama_index.core.agent.workflow import FunctionAgent
from llama_index.core.llms import ChatMessage
from llama_index.core.prompts import PromptTemplate
from llama_index.llms.openai import OpenAIResponses
from pydantic import BaseModel

llm = OpenAIResponses(model=MODEL, api_base=URL, api_key="none", context_window=4096, temperature=0)


class Person(BaseModel):
    """A person."""

    name: str
    age: int


def plain() -> None:
    messages = [ChatMessage(role="user", content="I am Bob.")]
    messages += [llm.chat(messages).message, ChatMessage(role="user", content=NAME)]
    equal(llm.chat(messages).message.content, NAME_ANSWER)


def streamed() -> None:
    question = ChatMessage(role="user", content=SUM)
    answers = list(llm.stream_chat([question]))
    equal("".join(answer.delta or "" for answer in answers), SUM_ANSWER)
    messages = [question, answers[-1].message, ChatMessage(role="user", content="What did I just ask?")]
    equal(llm.chat(messages).message.content, f'You asked: "{SUM}"')


def tools() -> None:
    async def answer() -> str:
        return str(await FunctionAgent(tools=[get_weather], llm=llm).run(WEATHER))

    equal(asyncio.run(answer()), WEATHER_ANSWER)


def structured() -> None:
    equal(llm.structured_predict(Person, PromptTemplate(PERSON)), Person(**PERSON_ANSWER))


run(plain, streamed, tools, structured)
