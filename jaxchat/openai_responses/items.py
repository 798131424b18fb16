"""Reads the input of a Responses request: a string, or items."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from jaxchat import v1
from jaxchat.errors import invalid, missing, safe_repr
from jaxchat.openai_json import enums, puts, readers
from jaxchat.openai_json.puts import Put, Table
from jaxchat.openai_responses.content import check_content, put_content
from jaxchat.openai_responses.conversation import Conversation
from jaxchat.openai_responses.functions import chat_name
from jaxchat.openai_responses.thoughts import REASONING, Reasoning

ROLES = {word: role for word, role in enums.ROLES.items() if word not in ("tool", "function")}
STATUSES = ("in_progress", "completed", "incomplete")
_STORED = "this server stores no items. Send the item itself; clients do so with store=false."


def add_input(conversation: Conversation, value: Any, path: str, allow_unknown: bool) -> None:
    """Adds the messages of an input. Raises `ChatError` 400, which names the item and its field."""
    if isinstance(value, str):
        message = v1.ChatMessage(role=v1.ROLE_USER, text=readers.string(value, path))
        conversation.add_message(message, path)
        return
    if not isinstance(value, list | tuple):
        readers.string(value, path)
    if not value:
        raise invalid(path, "expected at least one item, got an empty array.")
    for index, item in enumerate(value):
        _add_item(conversation, item, f"{path}.{index}", allow_unknown)


def _add_item(conversation: Conversation, item: Any, path: str, allow_unknown: bool) -> None:
    kind = readers.mapping(item, path).get("type")
    if kind is None and item.get("role") is not None:
        kind = "message"  # a message may leave out its type
    if kind is None:
        raise missing(f"{path}.type", "An item without a role must have it.")
    kind = readers.string(kind, f"{path}.type")
    if kind == "item_reference":
        raise invalid(f"{path}.type", _STORED)
    if kind not in ITEMS:
        served = ", ".join(map(repr, ITEMS))
        raise invalid(f"{path}.type", f"this server takes items of the types {served}, got {safe_repr(kind)}.")
    ITEMS[kind](conversation, item, path, allow_unknown)


def _add_message(conversation: Conversation, item: Mapping[str, Any], path: str, allow_unknown: bool) -> None:
    message = v1.ChatMessage()
    puts.fill(message, item, path, MESSAGE, frozenset(), allow_unknown)
    if not message.role:
        raise missing(f"{path}.role")
    if message.role != v1.ROLE_ASSISTANT:
        check_content(message, item.get("content"), f"{path}.content", f"A message of role '{item['role']}'")
    conversation.add_message(message, path)


def _add_call(conversation: Conversation, item: Mapping[str, Any], path: str, allow_unknown: bool) -> None:
    _require(item, path, "call_id", "name", "arguments")
    call = v1.ToolCall(type=v1.TOOL_TYPE_FUNCTION)
    puts.fill(call, item, path, CALL, frozenset(), allow_unknown)
    if item.get("namespace") is not None:
        call.function.name = chat_name(readers.string(item["namespace"], f"{path}.namespace"), call.function.name)
    conversation.add_call(call, path)


def _add_output(conversation: Conversation, item: Mapping[str, Any], path: str, allow_unknown: bool) -> None:
    _require(item, path, "call_id", "output")
    message = v1.ChatMessage(role=v1.ROLE_TOOL)
    puts.fill(message, item, path, OUTPUT, frozenset(), allow_unknown)
    check_content(message, item["output"], f"{path}.output", "An output")
    conversation.add_output(message, path)


def _add_reasoning(conversation: Conversation, item: Mapping[str, Any], path: str, allow_unknown: bool) -> None:
    reasoning = Reasoning()
    puts.fill(reasoning, item, path, {**_ECHOES, **REASONING}, frozenset(), allow_unknown)
    conversation.add_reasoning(reasoning.thoughts(path), path)


def _require(item: Mapping[str, Any], path: str, *keys: str) -> None:
    for key in keys:
        if item.get(key) is None:
            raise missing(f"{path}.{key}", f"An item of type '{item['type']}' must have it.")


def _put_function(reader: readers.Reader[Any]) -> Put:
    """Returns a `Put` for the name or the arguments of a call."""

    def put(call: v1.ToolCall, key: str, value: Any, path: str, allow_unknown: bool) -> None:
        setattr(call.function, key, reader(value, path))

    return put


def _put_as(field: str) -> Put:
    """Returns a `Put` for a string that becomes the field `field` of a chat message or a call."""

    def put(message: Any, key: str, value: Any, path: str, allow_unknown: bool) -> None:
        setattr(message, field, readers.string(value, path))

    return put


_ECHOES: Table = {
    "type": puts.echo(readers.anything),
    "id": puts.echo(readers.string),
    "status": puts.echo(readers.word({status: status for status in STATUSES})),
}
MESSAGE: Table = {**_ECHOES, "role": puts.plain(readers.word(ROLES)), "content": put_content}
CALL: Table = {
    **_ECHOES,
    "call_id": _put_as("id"),
    "name": _put_function(readers.string),
    "arguments": _put_function(readers.string),
    "namespace": puts.echo(readers.string),
    "parsed_arguments": puts.echo(readers.anything),
}
OUTPUT: Table = {
    **_ECHOES,
    "call_id": _put_as("tool_call_id"),
    "output": put_content,
    "name": puts.echo(readers.string),
    "namespace": puts.echo(readers.string),
}
ITEMS: Mapping[str, Callable[[Conversation, Mapping[str, Any], str, bool], None]] = {
    "message": _add_message,
    "function_call": _add_call,
    "function_call_output": _add_output,
    "reasoning": _add_reasoning,
}
