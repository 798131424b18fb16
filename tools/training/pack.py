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

TRIES = 16  # conversations without room before a batch is called full


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
    """Returns token ids, i32 `[T]`, and a mask, bool `[T]`, of the tokens in assistant turns and their end tokens."""
    ids = np.array(
        tokenizer.encode(render(list(sample.messages), list(sample.tools)), add_special_tokens=False).ids,
        np.int32,
    )
    opening = tokenizer.encode("<|im_start|>assistant\n", add_special_tokens=False).ids
    end = tokenizer.token_to_id("<|im_end|>")
    learned = np.zeros(len(ids), bool)
    for start in np.flatnonzero(ids == opening[0]):
        if list(ids[start : start + len(opening)]) == opening:
            begin = start + len(opening)
            learned[begin : begin + int(np.argmax(ids[begin:] == end)) + 1] = True
    return ids, learned


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
        waiting, self._waiting, segment = self._waiting, [], 0
        while len(self._waiting) < TRIES:
            ids, mask = waiting.pop() if waiting else self._next()
            row = next((i for i, (length, _) in enumerate(self._rows) if used[i] + len(ids) <= length), None)
            if row is None:
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
        self._waiting += waiting
        return _with_targets(tokens, positions, segments, learned)


def _with_targets(tokens: np.ndarray, positions: np.ndarray, segments: np.ndarray, learned: np.ndarray) -> Batch:
    limit = len(tokens) // 2
    targets = np.flatnonzero(learned)[:limit]
    where, labels, weights = np.zeros(limit, np.int32), np.zeros(limit, np.int32), np.zeros(limit, np.float32)
    where[: len(targets)], labels[: len(targets)], weights[: len(targets)] = targets - 1, tokens[targets], 1.0
    return Batch(tokens, positions, segments, where, labels, weights)
