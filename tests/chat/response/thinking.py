"""A byte tokenizer with the markers of thoughts, and what a reader sees of tokens that a test spells."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import cache

import numpy as np
from tokenizers import Tokenizer

from jaxchat.chat.prompt.tokenizer import ChatTokenizer
from jaxchat.chat.response.choice import ChoiceBuilder, ChoiceDelta, ChoiceOptions
from jaxchat.chat.response.reasoning import ReasoningFormat, thought_splitter
from jaxchat.chat.response.thought_tags import THINK
from jaxchat.chat.tools.harmony import HARMONY
from jaxchat.types import TokenEvent, TopLogprobs
from tests.tiny import tokenizer_json

CONTROL = ("[THINK]", "[/THINK]", "<|channel>", "<channel|>", *HARMONY.markers)
_OTHERS = ("<tool_call>", "</tool_call>", "<|im_end|>")
FORGED = "\\"
"""A backslash in front of a marker spells the marker by ordinary tokens."""
_TOP = TopLogprobs(np.zeros(0, np.int32), np.zeros(0, np.float32))


@cache
def tokenizer() -> ChatTokenizer:
    """Returns a tokenizer of bytes. `<think>` and `</think>` are ordinary added tokens, `CONTROL` are special."""
    made = Tokenizer.from_str(tokenizer_json())
    made.add_tokens(list(THINK.markers))
    made.add_special_tokens(list(CONTROL))
    return ChatTokenizer(made.to_str(), frozenset({made.token_to_id("<|im_end|>")}))


def tokens_of(text: str) -> list[int]:
    """Returns the ids of a text, a token for each byte and each marker that is not `FORGED`."""
    return [*_tokens(text)]


def _tokens(text: str) -> Iterator[int]:
    known = tokenizer()
    singles = {known.bytes_of(id_): id_ for id_ in range(256)}
    markers = "|".join(map(re.escape, (*THINK.markers, *CONTROL, *_OTHERS)))
    for forged, marker, rest in re.findall(rf"\\({markers})|({markers})|(.)", text, re.DOTALL):
        if marker:
            yield known.added_id_of(marker) or 0
        else:
            yield from (singles[bytes([byte])] for byte in (forged or rest).encode())


def said(text: str, reasoning: ReasoningFormat | None = THINK, *, prompt: str = "", **options) -> list[ChoiceDelta]:
    """Returns the output after each token of `text`. The last token ends the answer at `max_tokens`, unless it is
    `<|im_end|>`.
    """
    known = tokenizer()
    splitter = thought_splitter(reasoning, known, np.array(tokens_of(prompt), np.int32))
    builder, ids = ChoiceBuilder(known, ChoiceOptions(splitter=splitter, **options)), tokens_of(text)
    deltas = []
    for place, id_ in enumerate(ids, 1):
        last = "stop" if id_ in known.stop_tokens else "length" if place == len(ids) else None
        builder.feed(TokenEvent(1, 0, id_, last, -0.5, _TOP))
        deltas.append(builder.take())
        if builder.finished:
            break
    return deltas


def joined(deltas: Iterable[ChoiceDelta]) -> tuple[str, str]:
    """Returns the thoughts and the content of all deltas."""
    deltas = list(deltas)
    return "".join(delta.thoughts for delta in deltas), "".join(delta.text for delta in deltas)
