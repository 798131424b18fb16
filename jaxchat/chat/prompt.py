"""From a request's messages and tools to prompt tokens."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import numpy as np

from jaxchat import v1
from jaxchat.chat.template import ChatTemplate
from jaxchat.chat.tokenizer import ChatTokenizer

_ROLES = {
    v1.ROLE_SYSTEM: "system",
    v1.ROLE_DEVELOPER: "system",
    v1.ROLE_USER: "user",
    v1.ROLE_ASSISTANT: "assistant",
    v1.ROLE_TOOL: "tool",
    v1.ROLE_FUNCTION: "tool",
}


def prompt_tokens(request: v1.ChatCompletionRequest, template: ChatTemplate, tokenizer: ChatTokenizer) -> np.ndarray:
    """Token ids i32 `[tokens]` of a validated request.

    Raises:
        ChatError: 400 on `messages` when the chat template refuses the conversation.
    """
    messages = [_message(message, template.shows_names) for message in request.messages]
    tools = [_tool(tool) for tool in request.tools] if shows_tools(request) else None
    joiner = tokenizer.shield.joiner([messages, tools])
    rendered = template.render(*tokenizer.shield.apply([messages, tools], joiner))
    return np.array(tokenizer.encode(rendered, joiner), np.int32)


def shows_tools(request: v1.ChatCompletionRequest) -> bool:
    """Whether the model sees the declared tools: not with a tool choice of `none`."""
    return bool(request.tools) and request.tool_choice.mode != v1.TOOL_CHOICE_MODE_NONE


def text_of(message: v1.ChatMessage) -> str | None:
    """The content, parts joined without a separator; None when there is none."""
    kind = message.WhichOneof("content_kind")
    if kind == "parts":
        return "".join(part.text for part in message.parts.parts)
    return message.text if kind else None


def _message(message: v1.ChatMessage, shows_names: bool) -> dict[str, Any]:
    """One message as chat templates expect it: missing keys are left out, not null, except an assistant's content."""
    result: dict[str, Any] = {"role": _ROLES[message.role], "content": text_of(message)}
    if message.HasField("name") and message.role != v1.ROLE_FUNCTION:
        if shows_names:
            result["name"] = message.name
        else:
            result["content"] = f"{message.name}: {result['content'] or ''}"
    if message.role == v1.ROLE_FUNCTION:
        result |= {"name": message.name, "content": result["content"] or ""}
    if message.HasField("tool_call_id"):
        result["tool_call_id"] = message.tool_call_id
    calls = list(_calls(message))
    return result | {"tool_calls": calls} if calls else result


def _calls(message: v1.ChatMessage) -> Iterable[dict[str, Any]]:
    for call in message.tool_calls:
        yield {"id": call.id, "type": "function", "function": _call(call.function)}
    if message.HasField("function_call"):
        yield {"type": "function", "function": _call(message.function_call)}


def _call(call: v1.FunctionCall) -> dict[str, Any]:
    """Arguments as an object where they are one, else as the string they are: history is not judged."""
    try:
        arguments = json.loads(call.arguments)
    except (ValueError, RecursionError):
        arguments = None
    return {"name": call.name, "arguments": arguments if isinstance(arguments, dict) else call.arguments}


def _tool(tool: v1.Tool) -> dict[str, Any]:
    function: dict[str, Any] = {"name": tool.function.name}
    if tool.function.HasField("description"):
        function["description"] = tool.function.description
    if tool.function.HasField("parameters"):
        function["parameters"] = json.loads(tool.function.parameters)
    return {"type": "function", "function": function}
