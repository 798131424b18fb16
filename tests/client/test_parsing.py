"""Answers as pydantic models, against the openai package."""

from __future__ import annotations

import enum
import sys
from typing import Any, Generic, Literal, TypeVar

import pydantic
import pytest
from openai.lib._parsing._completions import type_to_response_format_param

from jaxchat import v1
from jaxchat.client.parsing import parse_completion, response_format_of
from jaxchat.errors import ChatError

T = TypeVar("T")


class Kind(enum.Enum):
    CAT = "cat"
    DOG = "dog"


class Owner(pydantic.BaseModel):
    name: str
    phone: str | None = None


class Pet(pydantic.BaseModel):
    """A pet."""

    kind: Kind = pydantic.Field(description="what it is")
    legs: int = pydantic.Field(ge=0, le=8, default=4)
    owner: Owner = pydantic.Field(description="whose it is")
    friends: list[Owner] = []
    color: Literal["red", "blue"] | None = None


class Tree(pydantic.BaseModel):
    value: int
    children: list[Tree] = []


class Box(pydantic.BaseModel, Generic[T]):
    content: T


def answer(text: str | None, reason: int = v1.FINISH_REASON_STOP) -> v1.ChatCompletion:
    return v1.ChatCompletion(choices=[v1.Choice(message=v1.AssistantMessage(content=text), finish_reason=reason)])


@pytest.mark.parametrize("model", [Owner, Pet, Tree])
def test_the_schema_is_that_of_the_openai_package(model):
    assert response_format_of(model) == type_to_response_format_param(model)


def test_the_name_of_a_generic_model_is_made_legal():
    assert response_format_of(Box[int])["json_schema"]["name"] == "Box_int_"


def test_the_content_becomes_an_instance():
    parsed = parse_completion(answer('{"name": "Ann", "phone": null}'), Owner)
    message = parsed.choices[0].message
    assert message.parsed == Owner(name="Ann") and message.content.startswith('{"name"')
    assert message.model_dump() == {"role": "assistant", "content": message.content}, "what can be sent back"


def test_a_pure_call_has_no_instance():
    parsed = parse_completion(answer(None, v1.FINISH_REASON_TOOL_CALLS), Owner)
    assert parsed.choices[0].message.parsed is None


def test_a_cut_answer_is_an_error():
    with pytest.raises(ChatError) as caught:
        parse_completion(answer('{"name": "An', v1.FINISH_REASON_LENGTH), Owner)
    assert (caught.value.param, caught.value.code) == ("max_tokens", "incomplete_answer")


@pytest.mark.parametrize("model", [dict, {"type": "json_object"}, "Owner", Owner(name="x")])
def test_what_is_not_a_model_class_is_refused(model: Any):
    with pytest.raises(ChatError, match="pydantic model class") as caught:
        response_format_of(model)
    assert caught.value.param == "response_format"


def test_without_pydantic_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "pydantic", None)
    with pytest.raises(ImportError, match="pip install pydantic"):
        response_format_of(Owner)
