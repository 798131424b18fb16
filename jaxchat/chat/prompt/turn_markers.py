"""Finds the added tokens with which a chat template opens and closes turns.

A tokenizer may mark such a token as not special, as that of DeepSeek V3 does. Other added tokens that a template
writes, such as `<think>` and `<tool_call>`, are text that the model has learned. Users may write them too.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from jaxchat.errors import ChatError

if TYPE_CHECKING:
    from jaxchat.chat.prompt.template import ChatTemplate

_TAG = re.compile(r"<(/?)([A-Za-z][\w.:-]*)>")
_SYSTEM, _QUESTION, _ANSWER, _SECOND = "probe system 1", "probe question 2", "probe answer 3", "probe question 4"
_TURNS = [
    {"role": "user", "content": _QUESTION},
    {"role": "assistant", "content": _ANSWER},
    {"role": "user", "content": _SECOND},
]
_PROBES = ([{"role": "system", "content": _SYSTEM}, *_TURNS], _TURNS, _TURNS[:1])


def turn_markers(template: ChatTemplate, tokens: Iterable[str]) -> set[str]:
    """Returns those of `tokens` that are control tokens because the template writes them around turns.

    A token in the form of a tag, such as `<turn>`, counts if the template writes it between turns, before a user's
    text. Its closing or opening partner, such as `</turn>`, then counts too. Any other token, such as `[INST]`, counts
    wherever the template writes it.
    """
    tokens = {token for token in tokens if token.strip()}
    rendered = list(_rendered(template))
    written = "\0".join([template.source, *rendered])
    before_user = "\0".join(part for text in rendered for part in _before_user(text))
    tags = {token for token in tokens if _TAG.fullmatch(token)}
    turns = {token for token in tags if token in before_user}
    return {token for token in tokens - tags if token in written} | turns | (set(map(_partner, turns)) & tags)


def _rendered(template: ChatTemplate) -> Iterator[str]:
    for probe in _PROBES:
        try:
            yield template.render(probe, None)
        except ChatError:
            continue  # not every template takes a system message, or two turns


def _before_user(text: str) -> Iterator[str]:
    """Yields the template's text before each question: after the beginning, the system message or the last answer."""
    yield text.partition(_SYSTEM)[0].partition(_QUESTION)[0]
    if _SYSTEM in text:
        yield text.partition(_SYSTEM)[2].partition(_QUESTION)[0]
    yield text.partition(_ANSWER)[2].partition(_SECOND)[0]


def _partner(tag: str) -> str:
    """Returns the closing tag of an opening one, or the opening tag of a closing one."""
    return _TAG.sub(lambda match: f"<{match[2]}>" if match[1] else f"</{match[2]}>", tag)
