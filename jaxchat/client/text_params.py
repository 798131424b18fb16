"""Types of the parameters of `client.completions.create` and `client.tokenize`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, Required, TypedDict

from jaxchat.client.params import (
    GenerationParams,
    Message,
    ResponseFormatParam,
    StructuredOutputsParam,
    ToolParam,
)

Prompt = str | Sequence[str] | Sequence[int] | Sequence[Sequence[int]]
"""A text, several texts, the token ids of a text, or the token ids of several texts."""


class TextParams(GenerationParams, total=False):
    """Parameters of `create` besides `stream` and `timeout`. A client in process needs no `model`.

    For all except `model` and `prompt`, None means absent.
    """

    prompt: Required[Prompt]
    model: str
    suffix: str | None
    logprobs: int | None
    echo: bool | None
    best_of: int | None
    structured_outputs: StructuredOutputsParam | None
    response_format: ResponseFormatParam | None
    add_special_tokens: bool | None


class TokenizeParams(TypedDict, total=False):
    """Parameters of `tokenize`: either `prompt`, or `messages` with other fields of a conversation, such as `tools`."""

    model: str | None
    prompt: str | None
    messages: Sequence[Message] | None
    tools: Sequence[ToolParam] | None
    chat_template_kwargs: Mapping[str, Any] | None
    add_generation_prompt: bool | None
    continue_final_message: Literal[False] | None
    add_special_tokens: bool | None
    return_token_strs: bool | None
