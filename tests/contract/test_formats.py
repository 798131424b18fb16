"""Response formats, on a model with random weights at full temperature: only the grammar makes it write JSON."""

from __future__ import annotations

import json

import jsonschema
import openai
import pydantic
import pytest

from tests.contract.covering import covers
from tests.contract.doors import Door
from tests.contract.place import Place

SCHEMA = {
    "type": "object",
    "properties": {
        "kind": {"enum": ["cat", "dog"]},
        "age": {"type": "integer", "minimum": 0, "maximum": 99},
        "tags": {"type": "array", "items": {"type": "string", "maxLength": 3}, "maxItems": 2},
    },
    "required": ["kind", "age", "tags"],
    "additionalProperties": False,
}
ASK = [{"role": "user", "content": "Write JSON."}]


def schema_format(schema=SCHEMA, **more):
    return {"type": "json_schema", "json_schema": {"name": "pet", "schema": schema} | more}


@covers("ResponseFormat.type")
def test_json_object_is_one_object_or_the_beginning_of_one(door: Door) -> None:
    for seed in range(4):
        answer = door.ask(messages=ASK, response_format={"type": "json_object"}, seed=seed, max_tokens=60)
        assert answer.text.startswith("{")
        if answer.finish == "stop":
            assert isinstance(json.loads(answer.text), dict)


@covers("ResponseFormat.json_schema", "JsonSchemaFormat.name", "JsonSchemaFormat.schema", "JsonSchemaFormat.strict")
@pytest.mark.parametrize("strict", [True, False])
def test_answers_follow_the_schema(door: Door, strict: bool) -> None:
    given = schema_format(strict=strict)
    for temperature in (0, 1, 2):
        answer = door.ask(messages=ASK, response_format=given, seed=3, temperature=temperature, max_tokens=200, n=2)
        for choice in answer.choices:
            assert choice.finish == "stop"
            jsonschema.validate(json.loads(choice.text), SCHEMA)


@covers("JsonSchemaFormat.description")
def test_the_description_reaches_the_model(door: Door) -> None:
    usage = {"stream_options": {"include_usage": True}} if door.stream else {}
    plain = door.ask(messages=ASK, response_format=schema_format(), max_tokens=99, **usage)
    told = door.ask(messages=ASK, response_format=schema_format(description="A pet."), max_tokens=99, **usage)
    assert told.usage[0] > plain.usage[0] + len("pet: A pet.")


def test_the_grammar_wins_over_bias_and_the_end_is_forced(door: Door) -> None:
    answer = door.ask(
        messages=ASK, response_format=schema_format({"const": "yes"}), logit_bias={"3": 100}, max_tokens=20
    )
    assert json.loads(answer.text) == "yes" and answer.finish == "stop"


def test_the_reference_client_parses_into_its_models(tiny_place: Place) -> None:
    class Pet(pydantic.BaseModel):
        kind: str = pydantic.Field(max_length=4)
        legs: int = pydantic.Field(ge=0, le=8)

    client: openai.OpenAI = tiny_place.openai
    answer = client.chat.completions.parse(model=tiny_place.model, messages=ASK, response_format=Pet, max_tokens=200)
    assert isinstance(answer.choices[0].message.parsed, Pet)
    with client.chat.completions.stream(
        model=tiny_place.model, messages=ASK, response_format=Pet, max_tokens=200, seed=1
    ) as stream:
        parsed = stream.get_final_completion().choices[0].message.parsed
    assert isinstance(parsed, Pet)
