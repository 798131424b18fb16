"""Reads the thoughts in reasoning items, and writes and reads their `encrypted_content`.

The server has no key and stores nothing. `encrypted_content` is therefore encoded but not encrypted: clients can read
it.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from typing import Any

from jaxchat.errors import invalid, missing, safe_repr
from jaxchat.openai_json import puts, readers
from jaxchat.openai_json.puts import Put, Table

_PREFIX = "jaxchat1."


def sealed(thoughts: str) -> str:
    """Returns thoughts as the text for `encrypted_content`."""
    return _PREFIX + base64.urlsafe_b64encode(thoughts.encode()).decode()


def opened(text: str, path: str) -> str:
    """Returns the thoughts in an `encrypted_content`. Raises `ChatError` 400 if `sealed` cannot have written it."""
    try:
        if not text.startswith(_PREFIX):
            raise ValueError
        return base64.b64decode(text.removeprefix(_PREFIX).encode("ascii"), b"-_", validate=True).decode()
    except (ValueError, binascii.Error):
        reason = f"another server wrote this, and only that one can read it, got {safe_repr(text)}."
        raise invalid(path, reason) from None


@dataclass
class Reasoning:
    """The contents of a reasoning item. An attribute is None if the item does not have this content."""

    content: str | None = None
    encrypted: str | None = None
    summary: str | None = None

    def thoughts(self, path: str) -> str:
        """Returns the thoughts; "" if the item is empty.

        Raises:
            ChatError: 400 if the item has a summary but no thoughts, or if `content` and `encrypted` differ.
        """
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
    """Returns a `Put` for an array of parts of the type `kind`.

    The `Put` joins the texts of the parts. The joined text becomes the attribute `attribute` of a `Reasoning`.
    """
    table: Table = {"type": puts.only(kind), "text": puts.echo(readers.string)}

    def put(reasoning: Reasoning, key: str, value: Any, path: str, allow_unknown: bool) -> None:
        for index, part in enumerate(readers.array(value, path)):
            puts.fill(reasoning, part, f"{path}.{index}", table, frozenset(), allow_unknown)
            if part.get("text") is None:
                raise missing(f"{path}.{index}.text")
        if value:
            setattr(reasoning, attribute, "".join(part["text"] for part in value))

    return put


REASONING: Table = {
    "content": _texts("content", "reasoning_text"),
    "summary": _texts("summary", "summary_text"),
    "encrypted_content": _put_encrypted,
}
