"""Builds the prompt tokens of a request from its messages and tools."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from jaxchat import v1
from jaxchat.chat.prompt.messages import template_messages, template_tool, text_of
from jaxchat.chat.prompt.template import ChatTemplate
from jaxchat.chat.prompt.tokenizer import ChatTokenizer
from jaxchat.chat.request.tool_choice import ToolChoice
from jaxchat.errors import ChatError, context_length_exceeded, invalid, safe_repr

_PROBE = 16  # characters for each token of the context; ordinary text has fewer


def prompt_tokens(
    request: v1.ChatCompletionRequest,
    tool_choice: ToolChoice,
    template: ChatTemplate,
    tokenizer: ChatTokenizer,
    context: int,
    vocab: int,
) -> np.ndarray:
    """Returns the prompt of a validated request as token ids, i32 `[tokens]`.

    Args:
        request: a validated request.
        tool_choice: the functions that it allows.
        template: the model's chat template.
        tokenizer: the model's tokenizer.
        context: maximum length of a prompt, in tokens.
        vocab: number of token ids that the model knows.

    Raises:
        ChatError: 400 on the message or tool that the chat template rejects. 400 on `messages` that are far too long,
            or hold a token that the model does not know.
    """
    _check_length(request, tokenizer, context)
    messages = template_messages(
        request.messages,
        id_length=template.tool_format.id_length,
        arguments_as_text=template.traits.arguments_as_text,
    )
    tools = [template_tool(function) for function in tool_choice.functions] if tool_choice.visible else None
    data: list[Any] = [messages, tools, _instruction(request)]
    decoy = tokenizer.control_tokens.decoy(data)
    try:
        rendered = template.render(*data)
        ids = tokenizer.encode(rendered, template.render(*decoy) if decoy else None)
    except ChatError as error:
        raise _as_requested(error, tool_choice) from None
    _check_known(ids, tokenizer, vocab)
    return np.array(ids, np.int32)


def _check_known(ids: list[int], tokenizer: ChatTokenizer, vocab: int) -> None:
    if (highest := max(ids, default=0)) >= vocab:
        token = f"{safe_repr(tokenizer.spelling_of(highest))}, id {highest}"
        raise invalid("messages", f"The prompt holds the token {token}, but the model knows {vocab} tokens only.")


def _check_length(request: v1.ChatCompletionRequest, tokenizer: ChatTokenizer, context: int) -> None:
    """Raises `ChatError` for texts far beyond the context. Counts their beginning only, as tokenising all is slow."""
    texts = [text_of(message) or "" for message in request.messages]
    probe = _PROBE * context
    if sum(map(len, texts)) > probe and (count := tokenizer.count("".join(texts)[:probe])) > 2 * context:
        raise context_length_exceeded(context, count, more=True)


def _instruction(request: v1.ChatCompletionRequest) -> str:
    """Returns the description of the JSON Schema, or "" without one."""
    json_schema = request.response_format.json_schema
    return f"Answer with JSON, {json_schema.name}: {json_schema.description}" if json_schema.description else ""


def _as_requested(error: ChatError, tool_choice: ToolChoice) -> ChatError:
    """Returns a template's error with the request's own names: legacy functions are its tools."""
    param = error.param or ""
    if tool_choice.legacy and param.split(".")[0] == "tools":
        param = param.replace("tools", "functions", 1)
    return replace(error, param=param or None)
