"""Renders probes: conversations with words that a chat template must show."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from jaxchat.chat.prompt.messages import Message, Tool
from jaxchat.chat.prompt.template_traits import TemplateTraits

Render = Callable[[TemplateTraits, list[Message], list[Tool] | None], str]

QUESTION = "probed_question"
USER: Message = {"role": "user", "content": QUESTION}
PARAMETERS = {"type": "object", "properties": {"probed_key": {"type": "string", "description": "probed"}}}


def shows(
    render: Render, traits: TemplateTraits, messages: list[Message], tools: list[Tool] | None, words: Iterable[Any]
) -> bool:
    """Returns whether the prompt contains all `words`. If the template refuses the messages, the prompt is "".

    Args:
        render: `render(traits, messages, tools)` adapts messages and tools to `traits` and renders them. May raise any
            exception.
        traits: the traits to try.
        messages: the conversation.
        tools: the functions that the model may call, if any.
        words: texts that the prompt must contain.
    """
    text = rendered(render, traits, messages, tools)
    return all(word in text for word in words)


def rendered(render: Render, traits: TemplateTraits, messages: list[Message], tools: list[Tool] | None) -> str:
    """Returns the prompt, or "" if the template refuses the messages. The arguments are those of `shows`."""
    try:
        return render(traits, messages, tools)
    except Exception:  # templates are programs, which may raise anything
        return ""
