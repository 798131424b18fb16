"""Checks that a detected tool format can read a call that the chat template writes into the history."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from jaxchat.chat.prompt.messages import Message, Tool
from jaxchat.chat.prompt.probing import USER
from jaxchat.chat.tools.format import ToolFormat
from jaxchat.chat.tools.signatures import NO_SIGNATURES
from jaxchat.chat.tools.stream_parser import CallPart

Render = Callable[[list[Message], list[Tool] | None, bool], str]

NAME = "probed_call"
_NUMBER = {"probed_key": 70207}  # because some templates print texts without quotes
_TEXT: Message = {"role": "assistant", "content": "probed_answer"}


def misreads(render: Render, tool_format: ToolFormat) -> bool:
    """Returns whether a format's parser fails to recover a call that the template has written into the history.

    Also returns False if this cannot be tested:

    - The template raises or does not print the call.
    - The text of the call cannot be isolated.
    - The arguments are printed as a Python dictionary.
    - The format has no parser.

    Args:
        render: `render(messages, tools, begins)` renders a conversation, followed by the beginning of an answer if
            `begins` is true. May raise any exception.
        tool_format: the format that the template's source seems to use.
    """
    answer = answer_with_call(render, _NUMBER, "integer")
    if answer is None or NAME not in answer or "'probed_key'" in answer:
        return False
    read = read_call(tool_format, answer)
    return read is not None and (read[0] != NAME or not _is_number(read[1]))


def answer_with_call(render: Render, arguments: dict[str, Any], kind: str) -> str | None:
    """Returns the text that the template writes for an answer with one call, of the function `NAME`.

    Returns None if the template raises, or the text cannot be isolated from the rest of the prompt.

    Args:
        render: `render(messages, tools, begins)` renders a conversation, followed by the beginning of an answer if
            `begins` is true. May raise any exception.
        arguments: the arguments of the call.
        kind: the JSON type of every argument.
    """
    properties = {key: {"type": kind, "description": "text"} for key in arguments}
    parameters = {"type": "object", "properties": properties}
    tools: list[Tool] = [
        {"type": "function", "function": {"name": NAME, "description": "text", "parameters": parameters}}
    ]
    call = {"id": "abcdefgh1", "type": "function", "function": {"name": NAME, "arguments": arguments}}
    answer: Message = {"role": "assistant", "content": None, "tool_calls": [call]}
    try:
        whole = render([USER, answer], tools, False)
        asked, begun = (render([USER], tools, begins) for begins in (False, True))
        before_text, _, _ = render([USER, _TEXT], tools, False).partition(_TEXT["content"])
    except Exception:  # templates are programs, which may raise anything
        return None
    beginnings = [begun if begun != asked else "", before_text, asked]
    return next((whole.removeprefix(each) for each in beginnings if each and whole.startswith(each)), None)


def read_call(tool_format: ToolFormat, answer: str) -> tuple[str, object] | None:
    """Returns the name and the decoded arguments that a format's parser finds in an answer with one call.

    The arguments are None if they are not JSON. Returns None if the format has no parser.
    """
    parser = tool_format.parser(callable=True, forced=False, signatures=NO_SIGNATURES)
    if parser is None:
        return None
    parts = [part for part in parser.feed(answer) if isinstance(part, CallPart)]
    name, text = ("".join(getattr(part, key) for part in parts) for key in ("name", "arguments"))
    try:
        return name, json.loads(text)
    except ValueError:
        return name, None


def _is_number(arguments: object) -> bool:
    """Returns whether the arguments equal `_NUMBER`. Formats without types may read the number as text."""
    return isinstance(arguments, dict) and {key: str(value) for key, value in arguments.items()} == {
        key: str(value) for key, value in _NUMBER.items()
    }
