"""instructor: pydantic models out of forced calls and of JSON Schema, streamed as partial models, and asked again."""

from __future__ import annotations

import instructor
from checks import MODEL, PERSON, PERSON_ANSWER, URL, equal, run
from openai import OpenAI
from pydantic import BaseModel, field_validator

MODES = (instructor.Mode.TOOLS, instructor.Mode.TOOLS_STRICT, instructor.Mode.JSON, instructor.Mode.JSON_SCHEMA)
messages = [{"role": "user", "content": PERSON}]


class Person(BaseModel):
    name: str
    age: int


def client(mode: instructor.Mode) -> instructor.Instructor:
    return instructor.from_openai(OpenAI(base_url=URL, api_key="none"), mode=mode)


def structured() -> None:
    for mode in MODES:
        person = client(mode).chat.completions.create(
            model=MODEL, messages=messages, response_model=Person, temperature=0
        )
        equal(person.model_dump(), PERSON_ANSWER)


def streamed() -> None:
    partials = list(
        client(instructor.Mode.TOOLS).chat.completions.create_partial(
            model=MODEL, messages=messages, response_model=Person, temperature=0
        )
    )
    assert len(partials) > 1
    equal(partials[-1].model_dump(), PERSON_ANSWER)


def retries() -> None:
    """Sends the first answer back with an error, as instructor does if a validator refuses it."""
    refused: list[int] = []

    class Careful(Person):
        @field_validator("age")
        @classmethod
        def check(cls, age: int) -> int:
            refused.append(age)
            if len(refused) == 1:
                raise ValueError("read the sentence again")
            return age

    for mode in (instructor.Mode.TOOLS, instructor.Mode.JSON_SCHEMA):
        refused.clear()
        person = client(mode).chat.completions.create(
            model=MODEL, messages=messages, response_model=Careful, temperature=0, max_tokens=100
        )
        assert len(refused) == 2 and isinstance(person.name, str)


run(streamed, structured, retries)
