"""Packs tokenised conversations into rows, and rows of several lengths into one flat batch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from tokenizers import Tokenizer

from tools.training.sample import Sample
from tools.training.template import render

Layout = tuple[tuple[int, int], ...]
"""The number of rows and the tokens of a row, for each part of a batch. Short rows keep attention cheap."""

POOL = 128  # conversations to choose from: the more, the fewer places stay empty


@dataclass(frozen=True)
class Batch:
    """A batch of N flat tokens. At most M = N / 2 of the tokens are targets to predict.

    Attributes:
        tokens: token ids, i32 `[N]`.
        positions: position of each token in its conversation, i32 `[N]`.
        segments: number of the conversation to which each token belongs, from 1, i32 `[N]`; 0 is padding.
        where: index of the token before each target, i32 `[M]`.
        labels: the targets, i32 `[M]`.
        weights: 1 for targets and 0 for padding, f32 `[M]`.
    """

    tokens: np.ndarray
    positions: np.ndarray
    segments: np.ndarray
    where: np.ndarray
    labels: np.ndarray
    weights: np.ndarray


def parse_layout(text: str) -> Layout:
    """Parses `ROWS x TOKENS` pairs: `8x128,3x384` becomes `((8, 128), (3, 384))`. Raises ValueError for other forms."""
    return tuple((int(rows), int(length)) for rows, length in (part.split("x") for part in text.split(",")))


def encode(tokenizer: Tokenizer, sample: Sample) -> tuple[np.ndarray, np.ndarray]:
    """Returns token ids, i32 `[T]`, and a mask, bool `[T]`, of the tokens to learn.

    These are the tokens of assistant turns with their end tokens, without those of the parts in `sample.given`.
    """
    text = render(list(sample.messages), list(sample.tools))
    encoded = tokenizer.encode(text, add_special_tokens=False)
    ids = np.array(encoded.ids, np.int32)
    opening = tokenizer.encode("<|im_start|>assistant\n", add_special_tokens=False).ids
    end = tokenizer.token_to_id("<|im_end|>")
    learned = np.zeros(len(ids), bool)
    for start in np.flatnonzero(ids == opening[0]):
        if list(ids[start : start + len(opening)]) == opening:
            begin = start + len(opening)
            learned[begin : begin + int(np.argmax(ids[begin:] == end)) + 1] = True
    for start, stop in _spans(text, sample):
        learned[[first < stop and last > start for first, last in encoded.offsets]] = False
    return ids, learned


def _spans(text: str, sample: Sample) -> list[tuple[int, int]]:
    """Returns where the given parts of the answer begin and end in the text of the conversation."""
    spans, begin = [], text.rindex(sample.answer["content"]) if sample.given else 0
    for part in sample.given:
        begin = text.index(part, begin)
        spans.append((begin, begin + len(part)))
        begin += len(part)
    return spans


class Packer:
    """A packer of conversations into batches of one layout.

    Conversations that do not fit wait for the next batch. Conversations longer than the longest row are dropped.

    Args:
        samples: an endless iterator of conversations.
        tokenizer: tokenizer of the model.
        layout: number of rows of each length, as pairs (rows, tokens).
    """

    def __init__(self, samples: Iterator[Sample], tokenizer: Tokenizer, layout: Layout) -> None:
        self._samples, self._tokenizer = samples, tokenizer
        starts = np.cumsum([0] + [length for rows, length in layout for _ in range(rows)])
        lengths = [length for rows, length in layout for _ in range(rows)]
        self._rows = sorted(zip(lengths, starts[:-1].tolist(), strict=True))
        self._tokens, self._longest = int(starts[-1]), max(lengths)
        self._waiting: list[tuple[np.ndarray, np.ndarray]] = []

    def _next(self) -> tuple[np.ndarray, np.ndarray]:
        while True:
            pair = encode(self._tokenizer, next(self._samples))
            if len(pair[0]) <= self._longest:
                return pair

    def batch(self) -> Batch:
        """Returns the next batch."""
        size = self._tokens
        tokens, positions = np.zeros(size, np.int32), np.zeros(size, np.int32)
        segments, learned = np.zeros(size, np.int32), np.zeros(size, bool)
        used = [0] * len(self._rows)
        waiting = self._waiting + [self._next() for _ in range(POOL - len(self._waiting))]
        self._waiting, segment = [], 0
        for ids, mask in sorted(waiting, key=lambda pair: -len(pair[0])):
            rooms = [(length - used[i] - len(ids), i) for i, (length, _) in enumerate(self._rows)]
            room, row = min((pair for pair in rooms if pair[0] >= 0), default=(-1, -1))
            if room < 0:
                self._waiting.append((ids, mask))
                continue
            begin = self._rows[row][1] + used[row]
            span, segment = slice(begin, begin + len(ids)), segment + 1
            tokens[span], positions[span], segments[span], learned[span] = (
                ids,
                np.arange(len(ids)),
                segment,
                mask,
            )
            used[row] += len(ids)
        return _with_targets(tokens, positions, segments, learned)


def _with_targets(tokens: np.ndarray, positions: np.ndarray, segments: np.ndarray, learned: np.ndarray) -> Batch:
    limit = len(tokens) // 2
    targets = np.flatnonzero(learned)[:limit]
    where, labels, weights = np.zeros(limit, np.int32), np.zeros(limit, np.int32), np.zeros(limit, np.float32)
    where[: len(targets)], labels[: len(targets)], weights[: len(targets)] = targets - 1, tokens[targets], 1.0
    return Batch(tokens, positions, segments, where, labels, weights)
