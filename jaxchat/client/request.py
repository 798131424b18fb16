"""Builds a request from the keywords of `create`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from google.protobuf.message import Message

from jaxchat import v1
from jaxchat.errors import invalid
from jaxchat.openai_json import (
    ParsedRequest,
    ParsedText,
    request_from_kwargs,
    text_request_from_json,
    tokenize_from_json,
)
from jaxchat.openai_json.response import message_to_json


def build_request(params: Mapping[str, Any], *, stream: bool | None, default_model: str | None) -> ParsedRequest:
    """Returns the request that `create(stream=stream, **params)` asks for.

    Messages may be objects with `model_dump()`, such as the message of an earlier answer.

    Args:
        params: the keywords of `create`.
        stream: whether to stream the answer in chunks.
        default_model: model of requests without `model`; None if every request must name a model.

    Raises:
        ChatError: a parameter is unknown or has a wrong type. Bounds are checked later, by the session.
    """
    fields = dict(params)
    if default_model is not None:
        fields.setdefault("model", default_model)
    _convert_messages(fields)
    if isinstance(fields.get("response_format"), type):
        hint = "Expected an object, got a class. For a pydantic model call chat.completions.parse."
        raise invalid("response_format", hint)
    return request_from_kwargs(stream=stream, **fields)


def build_text_request(params: Mapping[str, Any], *, stream: bool | None, default_model: str | None) -> ParsedText:
    """Returns the request of `client.completions.create(stream=stream, **params)`, as `build_request` does."""
    fields = {"stream": stream, **params}
    if default_model is not None:
        fields.setdefault("model", default_model)
    return text_request_from_json(fields)


def build_tokenize_request(params: Mapping[str, Any]) -> v1.TokenizeRequest:
    """Returns the request of `client.tokenize(**params)`. Raises `ChatError` if a parameter is unknown or wrong."""
    fields = dict(params)
    _convert_messages(fields)
    return tokenize_from_json(fields)


def _convert_messages(fields: dict[str, Any]) -> None:
    """Converts items of `messages` to JSON objects, if they are protobuf messages or have `model_dump()`."""
    messages = fields.get("messages")
    if isinstance(messages, list | tuple):
        plain = [_plain(message) for message in messages]
        fields["messages"] = [message_to_json(m) if isinstance(m, Message) else m for m in plain]


def _plain(message: Any) -> Any:
    """Returns `message.model_dump()`, or the message itself if it is protobuf, a mapping or without that method."""
    if isinstance(message, Message | Mapping) or not hasattr(message, "model_dump"):
        return message
    return message.model_dump()
