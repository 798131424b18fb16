"""Finds the added tokens that a chat template writes to open and close turns.

Some tokenizers, such as the tokenizer of DeepSeek V3, do not mark these tokens as special. Templates also write other
added tokens, such as `<think>` and `<tool_call>`. They are text that the model has learned, and users may write them
too.
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
    """Returns the members of `tokens` that are control tokens because the template writes them around turns.

    A token with the form of a tag, such as `<turn>`, is a control token if the template writes it between turns, before
    a user's text. The other tag of the pair, such as `</turn>`, is then a control token too. A token with another form,
    such as `[INST]`, is a control token if the template writes it anywhere.
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
    """Yields the text that the template writes before each question.

    This is the text between the question and whatever precedes it: the beginning of the prompt, the system message or
    the previous answer.
    """
    yield text.partition(_SYSTEM)[0].partition(_QUESTION)[0]
    if _SYSTEM in text:
        yield text.partition(_SYSTEM)[2].partition(_QUESTION)[0]
    yield text.partition(_ANSWER)[2].partition(_SECOND)[0]


def _partner(tag: str) -> str:
    """Returns the closing tag for an opening tag, or the opening tag for a closing tag."""
    return _TAG.sub(lambda match: f"<{match[2]}>" if match[1] else f"</{match[2]}>", tag)
