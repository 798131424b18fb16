"""Whatever a model without sense says under the mask parses, and follows the schema."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from jaxchat.chat.grammar import GrammarCompiler
from jaxchat.errors import ChatError
from tests.chat.grammar.walking import byte_fallback, constraint_of, grammars, request, walk
from tools.schemas.made import random_schema

SCHEMAS = 240
CHECKER = Draft202012Validator.FORMAT_CHECKER


def test_any_object() -> None:
    ended = 0
    for seed in range(150):
        text, done = walk(request(word="object"), seed, 120)
        if done:
            ended += 1
            assert isinstance(text, str) and text[0] == "{" and text[-1] == "}"
            assert isinstance(json.loads(text), dict)
            text.encode()
    assert ended > 75


def test_any_object_with_byte_fallback() -> None:
    tokenizer = byte_fallback()
    source = GrammarCompiler(tokenizer, tokenizer.size - 3 + 40)
    ended = 0
    for seed in range(40):
        text, done = walk(request(word="object"), seed, 80, tokenizer, source)
        ended += done
        assert not done or isinstance(json.loads(text), dict)
    assert ended > 10


def test_random_schemas() -> None:
    chance = random.Random(5)
    compiled = ended = 0
    refused: list[str] = []
    for number in range(SCHEMAS * 2):
        schema = random_schema(chance)
        try:
            grammars().compiled(constraint_of(request(schema)))
        except ChatError as error:
            if error.http_status == 503:
                continue  # the machine is busy
            assert error.param == "response_format.json_schema.schema"
            refused.append(error.message)
            continue
        compiled += 1
        for seed in (0, 1):
            ended += _check(schema, number * 2 + seed)
        if compiled == SCHEMAS:
            break
    assert compiled == SCHEMAS, refused[:20]
    assert len(refused) < SCHEMAS / 4, refused[:20]
    assert ended > SCHEMAS


def _check(schema: dict[str, Any], seed: int) -> bool:
    text, done = walk(request(schema), seed, 150)
    if not done:
        return False
    value = json.loads(text)
    error = next(Draft202012Validator(schema, format_checker=CHECKER).iter_errors(value), None)
    assert error is None, json.dumps([schema, text, error.message])
    return True


@pytest.mark.parametrize("seed", range(8))
def test_without_a_schema_any_value_will_do(seed: int) -> None:
    text, done = walk(request(), seed, 60)
    assert not done or json.loads(text) is not NotImplemented
