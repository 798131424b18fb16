"""Builds the prompt tokens of a request from its messages and tools, and the tokens of its prediction."""

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
from jaxchat.errors import ChatError, context_length_exceeded, invalid, renamed, safe_repr

_NOT_TEXT = "The model's chat template cannot show a control token in these values as text."
_PREDICTION = "prediction.content"
_PROBE = 16  # characters for each token of the context; ordinary text has fewer


def prompt_tokens(
    request: v1.ChatCompletionRequest,
    tool_choice: ToolChoice,
    template: ChatTemplate,
    tokenizer: ChatTokenizer,
    context: int,
    vocab: int,
    variables: TemplateVariables | None = None,
    *,
    begins: bool = True,
) -> np.ndarray:
    """Returns the prompt of a validated request as token ids, i32 `[tokens]`.

    Args:
        request: a validated request.
        tool_choice: the tool choice of the request.
        template: the model's chat template.
        tokenizer: the model's tokenizer.
        context: maximum length of a prompt, in tokens.
        vocab: number of token ids that the model knows: 0 to `vocab - 1`.
        variables: the template variables of the request; None if the request does not set any.
        begins: whether the prompt ends with the beginning of an answer.

    Raises:
        ChatError: 400 on the message, tool or variable that the chat template refuses. 400 on `messages` if they are
            far longer than `context`, or if the prompt has a token that the model does not know. 400 on
            `messages` or `chat_template_kwargs` if they spell a control token that the template cannot show as text.
    """
    texts = [(text_of(message) or "") + message.reasoning_content for message in request.messages]
    if count := excess_tokens("".join(texts), tokenizer, context):
        raise context_length_exceeded(context, count, more=True)
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
        return template.render(messages, tools, instruction, replace(variables, kwargs=kwargs), begins=begins)

    values = list(variables.kwargs.values())
    decoy = tokenizer.control_tokens.decoy([conversation, values])
    try:
        ids = tokenizer.encode(render(conversation, values), render(*decoy) if decoy else None)
    except ChatError as error:
        if error.param == "messages" and decoy and not tokenizer.control_tokens.decoy(conversation):
            error = invalid("chat_template_kwargs", _NOT_TEXT)
        raise _as_requested(error, request, tool_choice) from None
    check_known_tokens(ids, tokenizer, vocab, "messages", "prompt")
    return np.array(ids, np.int32)


def prediction_tokens(
    request: v1.ChatCompletionRequest, tokenizer: ChatTokenizer, context: int, vocab: int
) -> np.ndarray | None:
    """Returns the prediction of a validated request as token ids, i32 `[tokens]`, or None if it has no text.

    Args:
        request: a validated request.
        tokenizer: the model's tokenizer.
        context: maximum length of a prediction, in tokens.
        vocab: number of token ids that the model knows: 0 to `vocab - 1`.

    Raises:
        ChatError: 400 on `prediction.content` if it is longer than `context`, or has a token that the model does not
            know.
    """
    text = request.prediction.text or "".join(part.text for part in request.prediction.parts.parts)
    excess = excess_tokens(text, tokenizer, context)
    ids = [] if excess else tokenizer.encode_text(text)
    if (count := excess or len(ids)) > context:
        message = f"at most {context} tokens are allowed, got {'more than ' if excess else ''}{count}."
        raise invalid(_PREDICTION, message)
    check_known_tokens(ids, tokenizer, vocab, _PREDICTION, "prediction")
    return np.array(ids, np.int32) if ids else None


def check_known_tokens(ids: list[int], tokenizer: ChatTokenizer, vocab: int, param: str, holder: str) -> None:
    """Raises `ChatError` 400 on `param` if one of `ids` is not below `vocab`. The error calls the text `holder`."""
    if (highest := max(ids, default=0)) >= vocab:
        token = f"{safe_repr(tokenizer.spelling_of(highest))}, id {highest}"
        raise invalid(param, f"the {holder} holds the token {token}, but the model knows {vocab} tokens only.")


def excess_tokens(text: str, tokenizer: ChatTokenizer, context: int) -> int:
    """Returns the number of tokens in the beginning of a text that is far too long for the context, and otherwise 0.

    The beginning is the first `_PROBE * context` characters. A text is far too long if it has more characters, and the
    beginning has more than `2 * context` tokens. The other characters are not encoded, which saves time.
    """
    probe = _PROBE * context
    count = tokenizer.count(text[:probe]) if len(text) > probe else 0
    return count if count > 2 * context else 0


def _instruction(request: v1.ChatCompletionRequest) -> str:
    """Returns an instruction with the description of the response's JSON Schema, or "" without a description."""
    json_schema = request.response_format.json_schema
    return f"Answer with JSON, {json_schema.name}: {json_schema.description}" if json_schema.description else ""


def _as_requested(error: ChatError, request: v1.ChatCompletionRequest, tool_choice: ToolChoice) -> ChatError:
    """Returns the template's error with the field name that the client used, such as `functions` instead of `tools`."""
    param = error.param or ""
    if tool_choice.legacy and param.split(".")[0] == "tools":
        param = param.replace("tools", "functions", 1)
    if request.HasField("reasoning_effort") and param == "chat_template_kwargs.reasoning_effort":
        param = "reasoning_effort"
    return renamed(error, param) if param != (error.param or "") else error
