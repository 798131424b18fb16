"""Answers cut into tokens and batches at every place: what readers see equals what plain Python makes of the whole."""

from __future__ import annotations

import asyncio
import codecs
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxchat.chat.context import Record
from jaxchat.chat.response.choice import ChoiceBuilder, ChoiceDelta, ChoiceOptions
from jaxchat.chat.response.stream import OutputStream
from jaxchat.types import TokenEvent, TopLogprobs

TOP = TopLogprobs(np.zeros(1, np.int32), np.zeros(1, np.float32))
LETTERS = "ab€😀é\n \x00\ufffd"


@dataclass
class Pieces:
    """A tokeniser whose token i is the i-th piece."""

    pieces: list[bytes]
    strips_first_space: bool = False
    special_tokens: dict[int, str] = field(default_factory=dict)

    def bytes_of(self, token: int) -> bytes:
        return self.pieces[token]


@st.composite
def cut(draw: st.DrawFn) -> list[bytes]:
    """Bytes, mostly of a text, cut into tokens without regard to characters; some tokens are empty."""
    data = draw(st.one_of(st.text(LETTERS, max_size=16).map(str.encode), st.binary(max_size=12)))
    cuts = sorted(draw(st.lists(st.integers(0, len(data)), max_size=16)))
    return [data[a:b] for a, b in zip([0, *cuts], [*cuts, len(data)], strict=True)]


stop_lists = st.lists(st.text(LETTERS, min_size=1, max_size=4), max_size=4)
batches = st.lists(st.integers(1, 5), min_size=1, max_size=8)


def decoded(pieces: list[bytes]) -> str:
    """The characters that are complete."""
    return codecs.getincrementaldecoder("utf-8")("replace").decode(b"".join(pieces))


def expected(pieces: list[bytes], stops: list[str]) -> tuple[str, list[bytes], int]:
    """The visible text, the tokens that have a visible part, and how many tokens are consumed."""
    texts = [decoded(pieces[:count]) for count in range(len(pieces) + 1)]
    final = b"".join(pieces).decode("utf-8", "replace")
    used = next((i for i, text in enumerate(texts) if any(stop in text for stop in stops)), len(pieces) + 1)
    text = texts[used] if used <= len(pieces) else final
    released = text[: min([text.find(stop) for stop in stops if stop in text], default=len(text))]
    starts = [len(text) for text in texts]
    kept = [piece for piece, start in zip(pieces[:used], starts, strict=False) if piece and start < len(released)]
    return released, kept, used


def events(pieces: list[bytes], choice: int = 0) -> list[TokenEvent]:
    """One for each token, and the end of the turn."""
    found = [TokenEvent(1, choice, token, logprob=-0.5, top=TOP) for token in range(len(pieces))]
    return [*found, TokenEvent(1, choice, -1, "stop", top=TOP)]


def joined(deltas: list[ChoiceDelta]) -> tuple[str, list[bytes]]:
    entries = [entry.bytes for delta in deltas for entry in delta.entries]
    return "".join(delta.text for delta in deltas), entries


@settings(max_examples=400, deadline=None)
@given(cut(), stop_lists, batches)
def test_any_batching_shows_what_the_whole_text_shows(pieces: list[bytes], stops: list[str], sizes: list[int]) -> None:
    tokenizer: Any = Pieces(pieces)
    builder = ChoiceBuilder(tokenizer, ChoiceOptions(stops=stops, top_logprobs=0))
    looks = set(accumulate(sizes))  # the reader looks after so many tokens
    deltas = []
    for count, event in enumerate(events(pieces), 1):
        builder.feed(event)
        if count in looks:
            deltas.append(builder.take())
            check_so_far(deltas, pieces)
        if builder.finished:
            break
    deltas.append(builder.take())
    released, kept, used = expected(pieces, stops)
    assert joined(deltas) == (released, kept)
    assert builder.tokens == used and builder.buffered_bytes == 0


def check_so_far(deltas: list[ChoiceDelta], pieces: list[bytes]) -> None:
    """The entries shown are exactly those of the tokens whose first character is shown."""
    seen, entries = joined(deltas)
    starts = [len(decoded(pieces[:count])) for count in range(len(pieces))]
    assert entries == [piece for piece, start in zip(pieces, starts, strict=True) if piece and start < len(seen)]


@settings(max_examples=200, deadline=None)
@given(cut(), stop_lists)
def test_the_limit_flushes_like_the_end_of_the_turn(pieces: list[bytes], stops: list[str]) -> None:
    tokenizer: Any = Pieces(pieces)
    builder = ChoiceBuilder(tokenizer, ChoiceOptions(stops=stops, top_logprobs=0))
    for event in events(pieces)[:-1]:
        last = event.token == len(pieces) - 1
        builder.feed(TokenEvent(1, 0, event.token, "length" if last else None, -0.5, TOP))
        if builder.finished:
            break
    released, kept, used = expected(pieces, stops)
    assert joined([builder.take()]) == (released, kept) and builder.tokens == min(used, len(pieces))


@settings(max_examples=200, deadline=None)
@given(st.lists(cut(), min_size=1, max_size=4), stop_lists, st.randoms(use_true_random=False), batches)
def test_choices_that_interleave_do_not_mix(answers: list[list[bytes]], stops: list[str], random: Any, sizes) -> None:
    order = [choice for choice, pieces in enumerate(answers) for _ in events(pieces)]
    random.shuffle(order)
    feeds = [iter(events(pieces, choice)) for choice, pieces in enumerate(answers)]
    stream = [next(feeds[choice]) for choice in order]
    found = asyncio.run(read(answers, stops, stream, sizes))
    for choice, pieces in enumerate(answers):
        assert joined(found[choice]) == expected(pieces, stops)[:2]
        assert [bool(delta.finish) for delta in found[choice]].count(True) == 1


async def read(answers: list[list[bytes]], stops: list[str], stream: list[TokenEvent], sizes: list[int]) -> Any:
    """What a reader takes, choice by choice, who looks after each batch."""
    options = ChoiceOptions(stops=stops, top_logprobs=0)
    tokenizers: list[Any] = [Pieces(pieces) for pieces in answers]
    builders = [ChoiceBuilder(tokenizer, options) for tokenizer in tokenizers]
    record = Record(request_id="r", model="m", streamed=True, choices=len(answers))
    run = OutputStream(builders, record, [], lambda choice: None, 1 << 30)
    found: list[list[ChoiceDelta]] = [[] for _ in answers]
    while stream:
        size, sizes = sizes[0], sizes[1:] + sizes[:1]
        batch, stream = stream[:size], stream[size:]
        run.feed(batch)
        for choice, delta in await run.take():
            found[choice].append(delta)
    assert run.exhausted
    return found
