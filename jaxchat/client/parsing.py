"""Answers as instances of pydantic models. Pydantic is imported on first use."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from jaxchat import v1
from jaxchat.client.completion import AssistantMessage, ChatCompletion, Choice, choice_fields, completion_fields
from jaxchat.client.json_schema import make_strict
from jaxchat.client.params import ResponseFormatParam
from jaxchat.errors import ChatError, invalid, safe_repr

if TYPE_CHECKING:
    from pydantic import BaseModel

    ModelT = TypeVar("ModelT", bound=BaseModel)
else:
    ModelT = TypeVar("ModelT")

LONGEST_NAME = 64


@dataclass(frozen=True, repr=False, kw_only=True)
class ParsedMessage(AssistantMessage, Generic[ModelT]):
    """A message. `parsed` is its content as an instance of the pydantic model, or None if the answer called tools."""

    parsed: ModelT | None


@dataclass(frozen=True, repr=False, kw_only=True)
class ParsedChoice(Choice, Generic[ModelT]):
    """One of the `n` answers. `message.parsed` is its content as an instance of the pydantic model, or None."""

    message: ParsedMessage[ModelT]


@dataclass(frozen=True, repr=False, kw_only=True)
class ParsedChatCompletion(ChatCompletion, Generic[ModelT]):
    """A whole answer. `choices[i].message.parsed` is an instance of the pydantic model, or None."""

    choices: tuple[ParsedChoice[ModelT], ...]


def response_format_of(model: type[Any]) -> ResponseFormatParam:
    """Returns the `response_format` that requires the strict JSON Schema of a pydantic model.

    Raises:
        ChatError: `model` is not a pydantic model class.
        ImportError: pydantic is not installed.
        pydantic.PydanticInvalidForJsonSchema: a field of the class has no JSON Schema.
    """
    try:
        import pydantic
    except ModuleNotFoundError:
        raise ImportError("chat.completions.parse needs pydantic: pip install pydantic") from None
    if not (isinstance(model, type) and issubclass(model, pydantic.BaseModel)):
        raise invalid("response_format", f"expected a pydantic model class, got {safe_repr(model)}.")
    name = re.sub(r"[^a-zA-Z0-9_-]", "_", model.__name__)[:LONGEST_NAME]
    schema = make_strict(model.model_json_schema())
    return {"type": "json_schema", "json_schema": {"name": name, "schema": schema, "strict": True}}


def parse_completion(proto: v1.ChatCompletion, model: type[ModelT]) -> ParsedChatCompletion[ModelT]:
    """Returns a completion in which the content of each choice is parsed as `model`.

    Raises:
        ChatError: an answer was cut at its token limit, so that its JSON is incomplete.
        pydantic.ValidationError: `model` rejects the content of a choice.
    """
    choices = tuple(_parse_choice(choice, model) for choice in proto.choices)
    return ParsedChatCompletion(**completion_fields(proto), choices=choices)


def _parse_choice(proto: v1.Choice, model: type[ModelT]) -> ParsedChoice[ModelT]:
    fields = choice_fields(proto)
    if fields["finish_reason"] == "length":
        message = "The answer was cut at its token limit, so its JSON is incomplete. Raise max_tokens."
        raise ChatError(message, "max_tokens", "incomplete_answer")
    has_json = proto.message.HasField("content") and fields["finish_reason"] == "stop"
    parsed = model.model_validate_json(proto.message.content) if has_json else None
    return ParsedChoice(**fields, message=ParsedMessage.from_proto(proto.message, parsed=parsed))
