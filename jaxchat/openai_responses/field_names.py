"""Renames fields in errors: errors about a chat request get the field names of the Responses request."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from jaxchat.errors import ChatError, renamed

FIELDS = {
    "messages": "input",
    "max_completion_tokens": "max_output_tokens",
    "reasoning_effort": "reasoning.effort",
    "logprobs": "include",
    "response_format": "text.format",
    "response_format.json_schema": "text.format",
}
"""The Responses field for each chat field with another name. Other chat fields have the same name in both APIs."""
_IN_MESSAGES = {"response_format": "text.format", "max_completion_tokens": "max_output_tokens"}
_WORDS = re.compile("|".join(_IN_MESSAGES))


@dataclass
class MessageOrigin:
    """The paths of the items from which a chat message was made.

    Attributes:
        path: path of the first item.
        content: path of the field with the text; "" if no item has text.
        reasoning: path of the item with the thoughts; "" if no item has thoughts.
        calls: paths of the items with calls, one for each call.
    """

    path: str
    content: str = ""
    reasoning: str = ""
    calls: list[str] = field(default_factory=list)

    def name(self, inner: Sequence[str]) -> str:
        """Returns the path that a field of the message has in the Responses request.

        Args:
            inner: the path of the field in the message.
        """
        if self.path in ("instructions", "input"):  # texts, not objects
            return self.path
        first, *others = inner or ("",)
        if first == "tool_calls":
            return self._call(others)
        if first == "reasoning_content":
            return _join(self.reasoning or self.path, "content")
        if first == "tool_call_id":
            return _join(self.path, "call_id")
        if first == "content":
            return _join(self.content or _join(self.path, first), *others)
        return _join(self.path, *inner)

    def _call(self, inner: Sequence[str]) -> str:
        if not inner:
            return self.calls[0]
        index, *others = inner
        names = {"id": "call_id", "function": ""}
        return _join(self.calls[int(index)], *(name for each in others if (name := names.get(each, each))))


@dataclass(frozen=True)
class FieldNames:
    """The names of fields in a Responses request.

    Attributes:
        messages: the origin of each chat message.
        tools: the path of each chat tool.
        user: the Responses field that became the chat field `user`.
    """

    messages: Sequence[MessageOrigin]
    tools: Sequence[str]
    user: str = "user"

    def rename(self, error: ChatError) -> ChatError:
        """Returns an error about the chat request as an error about the Responses request."""
        if error.param is None:
            return error
        param = self.name(error.param)
        error = error if param == error.param else renamed(error, param)
        message = _WORDS.sub(lambda match: _IN_MESSAGES[match[0]], error.message, count=1)
        return error if message == error.message else replace(error, message=message)

    def name(self, param: str) -> str:
        """Returns the path that the chat field `param` has in the Responses request."""
        first, *inner = param.split(".")
        if first == "messages" and inner and inner[0].isdigit() and int(inner[0]) < len(self.messages):
            return self.messages[int(inner[0])].name(inner[1:])
        if first == "tools" and inner and inner[0].isdigit() and int(inner[0]) < len(self.tools):
            return _join(self.tools[int(inner[0])], *(name for name in inner[1:] if name != "function"))
        if first == "user":
            return self.user
        for length in (2, 1):
            prefix = ".".join((first, *inner[: length - 1]))
            if len(inner) >= length - 1 and prefix in FIELDS:
                return _join(FIELDS[prefix], *inner[length - 1 :])
        return param


def _join(*names: str) -> str:
    return ".".join(names)
