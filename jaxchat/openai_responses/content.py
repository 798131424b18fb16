"""Reads the content of items: a string, or parts."""

from __future__ import annotations

from typing import Any

from jaxchat import v1
from jaxchat.errors import invalid, missing, safe_repr
from jaxchat.openai_json import puts, readers
from jaxchat.openai_json.puts import Table

TYPES = {
    "input_text": v1.CONTENT_PART_TYPE_TEXT,
    "output_text": v1.CONTENT_PART_TYPE_TEXT,
    "refusal": v1.CONTENT_PART_TYPE_REFUSAL,
}


def put_content(message: v1.ChatMessage, key: str, value: Any, path: str, allow_unknown: bool) -> None:
    """Puts content into a chat message. Raises `ChatError` 400 that names the part at fault and its field."""
    if isinstance(value, str):
        message.text = readers.string(value, path)
        return
    for index, part in enumerate(readers.array(value, path)):
        _put_part(message.parts.parts.add(), part, f"{path}.{index}", allow_unknown)


def check_content(message: v1.ChatMessage, value: Any, path: str, holder: str) -> None:
    """Checks the content of a message that is not from the assistant.

    The content must not be missing or an empty array, and must not contain a refusal.

    Args:
        message: the chat message, with its content.
        value: the content in the request.
        path: dotted path of the content.
        holder: what contains the content, such as "An output", for errors.

    Raises:
        ChatError: 400 on the content, or on the type of a part.
    """
    if value is None:
        raise missing(path, f"{holder} must have it.")
    if not isinstance(value, str) and not value:
        raise invalid(path, "expected at least one part, got an empty array.")
    for index, part in enumerate(message.parts.parts):
        if part.type == v1.CONTENT_PART_TYPE_REFUSAL:
            raise invalid(f"{path}.{index}.type", "'refusal' is only allowed in a message of role 'assistant'.")


def _put_part(part: v1.ContentPart, value: Any, path: str, allow_unknown: bool) -> None:
    kind = readers.mapping(value, path).get("type")
    if isinstance(kind, str) and kind not in TYPES:
        raise invalid(f"{path}.type", f"this model takes text only, got a part of type {safe_repr(kind)}.")
    puts.fill(part, value, path, PART, frozenset(), allow_unknown)
    if not part.type:
        raise missing(f"{path}.type")
    needed, other = ("refusal", "text") if part.type == v1.CONTENT_PART_TYPE_REFUSAL else ("text", "refusal")
    if not part.HasField(needed):
        raise missing(f"{path}.{needed}", f"A part of type '{kind}' must have it.")
    if part.HasField(other):
        raise invalid(f"{path}.{other}", f"not allowed in a part of type '{kind}'.")


_text = puts.plain(readers.string)
PART: Table = {
    "type": puts.plain(readers.word(TYPES)),
    "text": _text,
    "refusal": _text,
    "annotations": puts.echo(readers.array),
    "logprobs": puts.echo(readers.array),
    "parsed": puts.echo(readers.anything),
}
