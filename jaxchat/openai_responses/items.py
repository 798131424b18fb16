"""Reads the input of a Responses request: a string, or items."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from jaxchat import v1
from jaxchat.errors import invalid, missing, safe_repr
from jaxchat.openai_json import enums, puts, readers
from jaxchat.openai_json.puts import Put, Table
from jaxchat.openai_responses.conversation import Conversation
from jaxchat.openai_responses.functions import chat_name
from jaxchat.openai_responses.thoughts import opened

ROLES = {word: role for word, role in enums.ROLES.items() if word not in ("tool", "function")}
PARTS = {
    "input_text": v1.CONTENT_PART_TYPE_TEXT,
    "output_text": v1.CONTENT_PART_TYPE_TEXT,
    "refusal": v1.CONTENT_PART_TYPE_REFUSAL,
}
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
    conversation.add_output(message, path)


def _add_reasoning(conversation: Conversation, item: Mapping[str, Any], path: str, allow_unknown: bool) -> None:
    reasoning = Reasoning()
    puts.fill(reasoning, item, path, REASONING, frozenset(), allow_unknown)
    conversation.add_reasoning(reasoning.thoughts(path), path)


def _require(item: Mapping[str, Any], path: str, *keys: str) -> None:
    for key in keys:
        if item.get(key) is None:
            raise missing(f"{path}.{key}", f"An item of type '{item['type']}' must have it.")


@dataclass
class Reasoning:
    """The contents of a reasoning item. Each is None if the item does not have it."""

    content: str | None = None
    encrypted: str | None = None
    summary: str | None = None

    def thoughts(self, path: str) -> str:
        """Returns the thoughts. Raises `ChatError` 400 if the item has none but a summary, or two that differ."""
        if self.content is None and self.encrypted is None and self.summary:
            reason = "A summary is not what the model thought. Send the thoughts, or leave out the item."
            raise missing(f"{path}.content", reason)
        if None not in (self.content, self.encrypted) and self.content != self.encrypted:
            raise invalid(f"{path}.encrypted_content", "it has other thoughts than the item's content.")
        return self.content or self.encrypted or ""


def _put_encrypted(reasoning: Reasoning, key: str, value: Any, path: str, allow_unknown: bool) -> None:
    text = readers.string(value, path)
    reasoning.encrypted = opened(text, path) if text else None


def _texts(attribute: str, kind: str) -> Put:
    """Returns a `Put` for an array of parts of the type `kind`, whose texts it joins."""
    table = {"type": puts.only(kind), "text": puts.echo(readers.string)}

    def put(reasoning: Reasoning, key: str, value: Any, path: str, allow_unknown: bool) -> None:
        for index, part in enumerate(readers.array(value, path)):
            puts.fill(v1.ContentPart(), part, f"{path}.{index}", table, frozenset(), allow_unknown)
            if part.get("text") is None:
                raise missing(f"{path}.{index}.text")
        if value:
            setattr(reasoning, attribute, "".join(part["text"] for part in value))

    return put


def _put_content(message: v1.ChatMessage, key: str, value: Any, path: str, allow_unknown: bool) -> None:
    if isinstance(value, str):
        message.text = readers.string(value, path)
        return
    for index, part in enumerate(readers.array(value, path)):
        _put_part(message.parts.parts.add(), part, f"{path}.{index}", allow_unknown)


def _put_part(part: v1.ContentPart, value: Any, path: str, allow_unknown: bool) -> None:
    kind = readers.mapping(value, path).get("type")
    if isinstance(kind, str) and kind not in PARTS:
        raise invalid(f"{path}.type", f"this model takes text only, got a part of type {safe_repr(kind)}.")
    puts.fill(part, value, path, PART, frozenset(), allow_unknown)


def _put_function(reader: readers.Reader[Any]) -> Put:
    """Returns a `Put` for a field of the function that a call names."""

    def put(call: v1.ToolCall, key: str, value: Any, path: str, allow_unknown: bool) -> None:
        setattr(call.function, key, reader(value, path))

    return put


def _put_as(field: str) -> Put:
    """Returns a `Put` for a string that has another name in the chat message."""

    def put(message: Any, key: str, value: Any, path: str, allow_unknown: bool) -> None:
        setattr(message, field, readers.string(value, path))

    return put


_text = puts.plain(readers.string)
_ECHOES: Table = {
    "type": puts.echo(readers.anything),
    "id": puts.echo(readers.string),
    "status": puts.echo(readers.word({status: status for status in STATUSES})),
}
PART: Table = {
    "type": puts.plain(readers.word(PARTS)),
    "text": _text,
    "refusal": _text,
    "annotations": puts.echo(readers.array),
    "logprobs": puts.echo(readers.array),
    "parsed": puts.echo(readers.anything),
}
MESSAGE: Table = {**_ECHOES, "role": puts.plain(readers.word(ROLES)), "content": _put_content}
CALL: Table = {
    **_ECHOES,
    "call_id": _put_as("id"),
    "name": _put_function(readers.string),
    "arguments": _put_function(readers.string),
    "namespace": puts.echo(readers.string),
    "parsed_arguments": puts.echo(readers.anything),
}
OUTPUT: Table = {**_ECHOES, "call_id": _put_as("tool_call_id"), "output": _put_content}
REASONING: Table = {
    **_ECHOES,
    "content": _texts("content", "reasoning_text"),
    "summary": _texts("summary", "summary_text"),
    "encrypted_content": _put_encrypted,
}
ITEMS: Mapping[str, Callable[[Conversation, Mapping[str, Any], str, bool], None]] = {
    "message": _add_message,
    "function_call": _add_call,
    "function_call_output": _add_output,
    "reasoning": _add_reasoning,
}
