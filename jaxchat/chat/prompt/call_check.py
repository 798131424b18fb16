"""Compares a detected format of calls with a call that the chat template writes into the history."""

from __future__ import annotations

import json
from collections.abc import Callable

from jaxchat.chat.prompt.messages import Message, Tool
from jaxchat.chat.tools.format import ToolFormat
from jaxchat.chat.tools.signatures import NO_SIGNATURES
from jaxchat.chat.tools.stream_parser import CallPart

Render = Callable[[list[Message], list[Tool] | None, bool], str]

_ARGUMENTS = {"probed_key": 70207}  # a number, because some templates print texts without quotes
_PARAMETERS = {"type": "object", "properties": {"probed_key": {"type": "integer", "description": "text"}}}
_FUNCTION = {"name": "probed_call", "description": "text", "parameters": _PARAMETERS}
_TOOLS: list[Tool] = [{"type": "function", "function": _FUNCTION}]
_QUESTION: Message = {"role": "user", "content": "probed_question"}
_TEXT: Message = {"role": "assistant", "content": "probed_answer"}
_CALL: Message = {
    "role": "assistant",
    "content": None,
    "tool_calls": [
        {"id": "abcdefgh1", "type": "function", "function": {"name": "probed_call", "arguments": _ARGUMENTS}}
    ],
}


def misreads(render: Render, tool_format: ToolFormat) -> bool:
    """Returns whether a format's parser fails to recover the call that the template writes into the history.

    False also if this cannot be tested: the template raises, its text of the call cannot be isolated, it prints
    arguments as Python prints a dictionary, or the format has no parser.

    Args:
        render: takes messages, tools, and whether to add the beginning of an answer. May raise anything.
        tool_format: the format that the template's source seems to use.
    """
    parser = tool_format.parser(callable=True, forced=False, signatures=NO_SIGNATURES)
    answer = _answer(render)
    if parser is None or answer is None or "probed_call" not in answer or "'probed_key'" in answer:
        return False
    calls = [part for part in parser.feed(answer) if isinstance(part, CallPart)]
    return "".join(call.name for call in calls) != "probed_call" or not _are_probed(
        "".join(call.arguments for call in calls)
    )


def _answer(render: Render) -> str | None:
    """Returns what the template writes after a question for an answer with a call; None if that cannot be told."""
    try:
        whole = render([_QUESTION, _CALL], _TOOLS, False)
        asked, begun = (render([_QUESTION], _TOOLS, begins) for begins in (False, True))
        before_text, _, _ = render([_QUESTION, _TEXT], _TOOLS, False).partition(_TEXT["content"])
    except Exception:  # templates are programs, which may raise anything
        return None
    beginnings = [begun if begun != asked else "", before_text, asked]
    return next((whole.removeprefix(each) for each in beginnings if each and whole.startswith(each)), None)


def _are_probed(arguments: str) -> bool:
    """Returns whether the arguments are those of the call. Formats without types may read the number as text."""
    try:
        read = json.loads(arguments)
    except ValueError:
        return False
    return isinstance(read, dict) and {key: str(value) for key, value in read.items()} == {"probed_key": "70207"}
