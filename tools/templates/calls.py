"""Checks whether the parser of a tool format reads a call in the form in which the chat template writes it."""

from __future__ import annotations

import json
from typing import Literal

from jaxchat.chat.prompt.messages import template_tool
from jaxchat.chat.request.tool_choice import Function
from jaxchat.chat.tools.signatures import NO_SIGNATURES
from jaxchat.chat.tools.stream_parser import CallPart
from tools.templates.engines import Jaxchat, Transformers

Reading = Literal["yes", "no", "not shown", ""]

_NAME, _ARGUMENTS = "probed_call", {"probed_key": "probed value"}


def reads_calls(ours: Jaxchat, theirs: Transformers) -> Reading:
    """Returns whether the parser of a model's tool format reads a call as the template writes it.

    Returns "not shown" if the template does not write calls, and "" if the tool format is unknown or the call cannot be
    found in an answer.
    """
    answer = _answer(ours, theirs)
    parser = ours.template.tool_format.parser(callable=True, forced=False, signatures=NO_SIGNATURES)
    if not ours.template.traits.calls:
        return "not shown"
    if answer is None or parser is None:
        return ""
    parts = [part for part in parser.feed(answer) if isinstance(part, CallPart)]
    name, text = ("".join(getattr(part, key) for part in parts) for key in ("name", "arguments"))
    return "yes" if name == _NAME and _parsed(text) == _ARGUMENTS else "no"


def _answer(ours: Jaxchat, theirs: Transformers) -> str | None:
    """Returns what a template writes between the prompt of a question and the end of the answer's turn, or None."""
    traits = ours.template.traits
    function = {"name": _NAME, "arguments": json.dumps(_ARGUMENTS) if traits.arguments_as_text else _ARGUMENTS}
    content = {"absent": {}, "null": {"content": None}, "text": {"content": ""}}[traits.empty_content]
    call = {"role": "assistant", "tool_calls": [{"id": "abcdefgh1", "type": "function", "function": function}]}
    question = {"role": "user", "content": "probed question"}
    tools = [template_tool(Function(name=_NAME, path="", description="text"))]
    tools[0]["function"]["parameters"] = {"type": "object", "properties": {"probed_key": {"type": "string"}}}
    shown = tools if traits.tools == "variable" else []
    answered = theirs.prompt([question, call | content], shown, add_generation_prompt=False).text
    for add in (True, False):
        beginning = theirs.prompt([question], shown, add_generation_prompt=add).text
        if beginning and answered.startswith(beginning):
            return answered.removeprefix(beginning)
    return None


def _parsed(text: str) -> object:
    try:
        return json.loads(text)
    except ValueError:
        return None
