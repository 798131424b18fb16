"""Builds the prompt tokens of a request from its messages and tools."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable
from typing import Any

import numpy as np

from jaxchat import v1
from jaxchat.chat.prompt.template import ChatTemplate
from jaxchat.chat.prompt.tokenizer import ChatTokenizer
from jaxchat.chat.request.tool_choice import Function, ToolChoice
from jaxchat.errors import context_length_exceeded

_PROBE = 16  # characters for each token of the context; ordinary text has fewer
_ROLES = {
    v1.ROLE_SYSTEM: "system",
    v1.ROLE_DEVELOPER: "system",
    v1.ROLE_USER: "user",
    v1.ROLE_ASSISTANT: "assistant",
    v1.ROLE_TOOL: "tool",
    v1.ROLE_FUNCTION: "tool",
}


def prompt_tokens(
    request: v1.ChatCompletionRequest,
    tool_choice: ToolChoice,
    template: ChatTemplate,
    tokenizer: ChatTokenizer,
    context: int,
) -> np.ndarray:
    """Returns the prompt of a validated request as token ids, i32 `[tokens]`.

    Raises:
        ChatError: 400 on `messages` if the chat template rejects the conversation, or if it is far too long.
    """
    _check_length(request, tokenizer, context)
    messages = _with_format([_message(message, template) for message in request.messages], request)
    tools = [_tool(function) for function in tool_choice.functions] if tool_choice.visible else None
    rendered = template.render(messages, tools)
    decoy = tokenizer.control_tokens.decoy([messages, tools])
    ids = tokenizer.encode(rendered, template.render(*decoy) if decoy else None)
    return np.array(ids, np.int32)


def _check_length(request: v1.ChatCompletionRequest, tokenizer: ChatTokenizer, context: int) -> None:
    """Raises `ChatError` for texts far beyond the context. Counts their beginning only, as tokenising all is slow."""
    texts = [text_of(message) or "" for message in request.messages]
    probe = _PROBE * context
    if sum(map(len, texts)) > probe and (count := tokenizer.count("".join(texts)[:probe])) > 2 * context:
        raise context_length_exceeded(context, count, more=True)


def text_of(message: v1.ChatMessage) -> str | None:
    """Returns the content, with parts joined without a separator, or None if there is none."""
    kind = message.WhichOneof("content_kind")
    if kind == "parts":
        return "".join(part.text for part in message.parts.parts)
    return message.text if kind else None


def _message(message: v1.ChatMessage, template: ChatTemplate) -> dict[str, Any]:
    """Returns a message in the form of chat templates. Absent keys are left out, except an assistant's null content."""
    result: dict[str, Any] = {"role": _ROLES[message.role], "content": text_of(message)}
    if message.HasField("name") and message.role != v1.ROLE_FUNCTION:
        if template.shows_names:
            result["name"] = message.name
        else:
            result["content"] = f"{message.name}: {result['content'] or ''}"
    if message.role == v1.ROLE_FUNCTION:
        result |= {"name": message.name, "content": result["content"] or ""}
    if message.HasField("tool_call_id"):
        result["tool_call_id"] = _template_id(message.tool_call_id, template.tool_format.id_length)
    calls = list(_calls(message, template.tool_format.id_length))
    return result | {"tool_calls": calls} if calls else result


def _with_format(messages: list[dict[str, Any]], request: v1.ChatCompletionRequest) -> list[dict[str, Any]]:
    """Adds the description of the JSON Schema, if the request has one, to the system message."""
    json_schema = request.response_format.json_schema
    if not json_schema.description:
        return messages
    instruction = f"Answer with JSON, {json_schema.name}: {json_schema.description}"
    if messages[0]["role"] != "system":
        return [{"role": "system", "content": instruction}, *messages]
    first = messages[0] | {"content": f"{messages[0]['content']}\n\n{instruction}"}
    return [first, *messages[1:]]


def _calls(message: v1.ChatMessage, id_length: int) -> Iterable[dict[str, Any]]:
    for call in message.tool_calls:
        yield {"id": _template_id(call.id, id_length), "type": "function", "function": _call(call.function)}
    if message.HasField("function_call"):
        yield {"type": "function", "function": _call(message.function_call)}


def _template_id(call_id: str, length: int) -> str:
    """Returns the id of a call with the length that the template requires; 0 allows any length.

    Replaces an id of another length by part of its hash, so that equal ids stay equal.
    """
    if not length or re.fullmatch(rf"[a-zA-Z0-9]{{{length}}}", call_id):
        return call_id
    return hashlib.sha256(call_id.encode()).hexdigest()[:length]


def _call(call: v1.FunctionCall) -> dict[str, Any]:
    """Returns name and arguments. Arguments that are not a JSON object stay a string: history is not validated."""
    try:
        arguments = json.loads(call.arguments)
    except (ValueError, RecursionError):
        arguments = None
    return {"name": call.name, "arguments": arguments if isinstance(arguments, dict) else call.arguments}


def _tool(function: Function) -> dict[str, Any]:
    tool: dict[str, Any] = {"name": function.name}
    if function.description is not None:
        tool["description"] = function.description
    if function.parameters:
        tool["parameters"] = function.parameters.value
    return {"type": "function", "function": tool}
