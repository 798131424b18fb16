"""Checks whether the parser of a tool format reads a call in the form in which the chat template writes it."""

from __future__ import annotations

from typing import Literal

from jaxchat.chat.prompt.adapt import adapt, with_parts
from jaxchat.chat.prompt.call_check import NAME, answer_with_call, read_call
from jaxchat.chat.prompt.messages import Message, Tool
from tools.templates.engines import Jaxchat, Transformers

Reading = Literal["yes", "no", "not shown", ""]

_ARGUMENTS = {"probed_key": "probed value"}


def reads_calls(ours: Jaxchat, theirs: Transformers) -> Reading:
    """Returns "yes" or "no": whether the parser of a model's tool format reads a call as the template writes it.

    Returns "not shown" if the template does not write calls. Returns "" if the tool format is unknown or the call
    cannot be found in an answer.
    """
    traits = ours.template.traits
    if not traits.calls:
        return "not shown"

    def render(messages: list[Message], tools: list[Tool] | None, begins: bool) -> str:
        adapted, functions = adapt(messages, tools if traits.tools == "variable" else None, traits, None)
        prompt = theirs.prompt(with_parts(adapted, traits.content_parts), functions or [], add_generation_prompt=begins)
        if prompt.refused:
            raise ValueError(prompt.refused)
        return prompt.text

    answer = answer_with_call(render, _ARGUMENTS, "string")
    read = None if answer is None else read_call(ours.template.tool_format, answer)
    if read is None:
        return ""
    return "yes" if read == (NAME, _ARGUMENTS) else "no"
