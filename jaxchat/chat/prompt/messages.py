"""Converts the messages and functions of a request to the dictionaries that chat templates read."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator
from typing import Any

from jaxchat import v1
from jaxchat.chat.request.tool_choice import Function

_ROLES = {
    v1.ROLE_SYSTEM: "system",
    v1.ROLE_DEVELOPER: "system",
    v1.ROLE_USER: "user",
    v1.ROLE_ASSISTANT: "assistant",
    v1.ROLE_TOOL: "tool",
    v1.ROLE_FUNCTION: "tool",
}

Message = dict[str, Any]
Tool = dict[str, Any]


def template_messages(
    messages: Iterable[v1.ChatMessage], *, id_length: int, arguments_as_text: bool = False
) -> list[Message]:
    """Returns messages as the dictionaries that templates read.

    Each dictionary has the key `content`. Its value is None if an assistant message has calls but no content. The role
    "developer" becomes "system", and "function" becomes "tool". A message with the thoughts of an earlier answer has
    the key `reasoning_content`.

    Args:
        messages: the messages of a validated request.
        id_length: number of letters and digits that the template requires in the id of a call; 0 for any.
        arguments_as_text: whether the arguments of a call become JSON text instead of an object.
    """
    functions: dict[str, str] = {}  # names by the ids of their calls
    converted = []
    for message in messages:
        functions |= {call.id: call.function.name for call in message.tool_calls}
        converted.append(_message(message, functions, id_length, arguments_as_text))
    return converted


def template_tool(function: Function) -> Tool:
    """Returns a function as the dictionary that templates read. Fields that the request omits are not in it."""
    tool: Tool = {"name": function.name}
    if function.description is not None:
        tool["description"] = function.description
    if function.parameters:
        tool["parameters"] = function.parameters.value
    return {"type": "function", "function": tool}


def text_of(message: v1.ChatMessage) -> str | None:
    """Returns the content of a message, or None if the message has no content. Joins parts without a separator.

    A refusal counts as content.
    """
    kind = message.WhichOneof("content_kind")
    if kind is None:
        return message.refusal or None
    parts = "".join(part.text or part.refusal for part in message.parts.parts)
    return message.text or parts or message.refusal


def _message(message: v1.ChatMessage, functions: dict[str, str], id_length: int, as_text: bool) -> Message:
    result: Message = {"role": _ROLES[message.role], "content": text_of(message)}
    if message.role == v1.ROLE_TOOL:
        call_id = message.tool_call_id
        result |= {"name": functions.get(call_id) or message.name, "tool_call_id": _template_id(call_id, id_length)}
    elif message.role == v1.ROLE_FUNCTION:
        result |= {"name": message.name, "content": result["content"] or ""}
        result |= _legacy_id("tool_call_id", id_length)
    elif message.HasField("name"):
        result["name"] = message.name
    if message.HasField("reasoning_content"):
        result["reasoning_content"] = message.reasoning_content
    if calls := list(_calls(message, id_length, as_text)):
        return result | {"tool_calls": calls}
    return result | {"content": result["content"] or ""}


def _calls(message: v1.ChatMessage, id_length: int, as_text: bool) -> Iterator[dict[str, Any]]:
    for call in message.tool_calls:
        yield {
            "id": _template_id(call.id, id_length),
            "type": "function",
            "function": _call(call.function, as_text),
        }
    if message.HasField("function_call"):
        identity = _legacy_id("id", id_length)
        yield identity | {"type": "function", "function": _call(message.function_call, as_text)}


def _legacy_id(key: str, length: int) -> dict[str, Any]:
    """Returns `{key: id}` with an invented id for a legacy call, or {} if the template does not require ids."""
    return {key: _template_id("legacy", length)} if length else {}


def _template_id(call_id: str, length: int) -> str:
    """Returns the id of a call in the form that the template requires.

    If `length` is 0, the template allows any id. Otherwise the id must consist of `length` letters and digits. An id of
    another form is replaced by the beginning of its hash, so that equal ids stay equal.
    """
    if not length or re.fullmatch(rf"[a-zA-Z0-9]{{{length}}}", call_id):
        return call_id
    return hashlib.sha256(call_id.encode()).hexdigest()[:length]


def _call(call: v1.FunctionCall, as_text: bool) -> dict[str, Any]:
    """Returns the name and the arguments of a call. Arguments that are not a JSON object stay text."""
    try:
        arguments = json.loads(call.arguments or "{}")
    except (ValueError, RecursionError):
        arguments = call.arguments
    if arguments is None:
        arguments = {}
    if as_text or not isinstance(arguments, dict):
        arguments = "{}" if arguments == {} else call.arguments
    return {"name": call.name, "arguments": arguments}
