"""Builds the prompt tokens of a request from its messages and tools."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from jaxchat import v1
from jaxchat.chat.prompt.messages import template_messages, template_tool, text_of
from jaxchat.chat.prompt.template import ChatTemplate
from jaxchat.chat.prompt.template_variables import TemplateVariables
from jaxchat.chat.prompt.tokenizer import ChatTokenizer
from jaxchat.chat.request.tool_choice import ToolChoice
from jaxchat.errors import ChatError, context_length_exceeded, invalid, safe_repr

_NOT_TEXT = "The model's chat template cannot show a control token in these values as text."
_PROBE = 16  # characters for each token of the context; ordinary text has fewer


def prompt_tokens(
    request: v1.ChatCompletionRequest,
    tool_choice: ToolChoice,
    template: ChatTemplate,
    tokenizer: ChatTokenizer,
    context: int,
    vocab: int,
    variables: TemplateVariables | None = None,
) -> np.ndarray:
    """Returns the prompt of a validated request as token ids, i32 `[tokens]`.

    Args:
        request: a validated request.
        tool_choice: the tool choice of the request.
        template: the model's chat template.
        tokenizer: the model's tokenizer.
        context: maximum length of a prompt, in tokens.
        vocab: number of token ids that the model knows.
        variables: the template variables of the request; None for a request that sets none.

    Raises:
        ChatError: 400 on the message, tool or variable that the chat template refuses. 400 on `messages` if they are
            far too long, or the prompt has a token that the model does not know. 400 on `messages` or
            `chat_template_kwargs` if the template cannot show the spelling of a control token as text.
    """
    _check_length(request, tokenizer, context)
    variables = variables or template.variables()
    messages = template_messages(
        request.messages,
        id_length=template.tool_format.id_length,
        arguments_as_text=variables.traits.arguments_as_text,
    )
    tools = [template_tool(function) for function in tool_choice.functions] if tool_choice.visible else None
    conversation: list[Any] = [messages, tools, _instruction(request)]

    def render(conversation: list[Any], values: list[Any]) -> str:
        messages, tools, instruction = conversation
        kwargs = dict(zip(variables.kwargs, values, strict=True))
        return template.render(messages, tools, instruction, replace(variables, kwargs=kwargs))

    values = list(variables.kwargs.values())
    decoy = tokenizer.control_tokens.decoy([conversation, values])
    try:
        ids = tokenizer.encode(render(conversation, values), render(*decoy) if decoy else None)
    except ChatError as error:
        if error.param == "messages" and decoy and not tokenizer.control_tokens.decoy(conversation):
            error = replace(error, param="chat_template_kwargs", message=_NOT_TEXT)
        raise _as_requested(error, request, tool_choice) from None
    _check_known(ids, tokenizer, vocab)
    return np.array(ids, np.int32)


def _check_known(ids: list[int], tokenizer: ChatTokenizer, vocab: int) -> None:
    if (highest := max(ids, default=0)) >= vocab:
        token = f"{safe_repr(tokenizer.spelling_of(highest))}, id {highest}"
        raise invalid("messages", f"The prompt holds the token {token}, but the model knows {vocab} tokens only.")


def _check_length(request: v1.ChatCompletionRequest, tokenizer: ChatTokenizer, context: int) -> None:
    """Raises `ChatError` for texts far longer than the context. To be fast, counts only tokens of their beginning."""
    texts = [text_of(message) or "" for message in request.messages]
    probe = _PROBE * context
    if sum(map(len, texts)) > probe and (count := tokenizer.count("".join(texts)[:probe])) > 2 * context:
        raise context_length_exceeded(context, count, more=True)


def _instruction(request: v1.ChatCompletionRequest) -> str:
    """Returns an instruction with the description of the response's JSON Schema, or "" without a description."""
    json_schema = request.response_format.json_schema
    return f"Answer with JSON, {json_schema.name}: {json_schema.description}" if json_schema.description else ""


def _as_requested(error: ChatError, request: v1.ChatCompletionRequest, tool_choice: ToolChoice) -> ChatError:
    """Returns the template's error with `param` as the request spells it, such as `functions` in place of `tools`."""
    param = error.param or ""
    if tool_choice.legacy and param.split(".")[0] == "tools":
        param = param.replace("tools", "functions", 1)
    if request.HasField("reasoning_effort") and param == "chat_template_kwargs.reasoning_effort":
        param = "reasoning_effort"
    return replace(error, param=param or None)
