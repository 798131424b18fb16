"""Chooses the draft tokens of each decode step: guesses that ride in rows which no sequence needs.

A right draft saves its sequence a step, a wrong one changes nothing, so drafts never change an answer. They may cost
time: more rows can mean a larger program, and the step after drafts must wait for their outcome. Drafts are therefore
chosen for the most expected tokens per second.
"""

from __future__ import annotations

import heapq
from itertools import accumulate

import numpy as np

from jaxchat.engine.prompt_lookup import PromptLookup
from jaxchat.engine.sequence import Sequence
from jaxchat.engine.step_times import StepTimes

_LEAST_GAIN = 0.05  # expected tokens of the least likely draft
_TURN = 64  # sequences that may have drafts in one step; in a larger one they take turns
_FORCED = 0.95  # probability of a token that the grammar forces; the model may split the same text otherwise
Drafts = list[list[int]]
"""The drafts of each sequence of a step, in order of position."""


class Speculation:
    """A policy that gives free rows to the drafts that are most likely to be right."""

    def __init__(self, times: StepTimes, limit: int) -> None:
        """Starts without drafts.

        Args:
            times: the times of decode steps, which the caller keeps up to date.
            limit: most drafts of one sequence in a step, at most 15; 0: no drafts.
        """
        self.times = times
        self.limit = limit
        self._turn = 0  # index of the first sequence that may have drafts
        self.drafted = self.accepted = 0  # since the start

    def count(self, drafts: np.ndarray, rejected: int) -> None:
        """Counts the drafts of a step, i32 `[R]` with -1 in rows without, of which `rejected` were wrong."""
        drafted = int((drafts >= 0).sum())
        self.drafted += drafted
        self.accepted += drafted - rejected

    def drafts(self, sequences: list[Sequence], awaited: bool) -> Drafts:
        """Returns the drafts of each sequence for the next step; none where they are not worth their time.

        Args:
            sequences: the sequences of the step, one row each without drafts.
            awaited: whether the step is awaited even without drafts.
        """
        free = self.times.buckets[-1] - len(sequences)
        if not (self.limit and free):
            return [[] for _ in sequences]
        turn = min(len(sequences), _TURN)
        self._turn = (self._turn + turn) % len(sequences)
        most = min(self.limit, max(1, 2 * free // turn))  # twice an even share, to spend little time here
        guesses: list[list[tuple[int, float]]] = [[] for _ in sequences]
        for index in range(self._turn, self._turn + turn):
            index %= len(sequences)
            guesses[index] = self._guesses(sequences[index], most)
        gains = heapq.nlargest(free, (gain for guess in guesses for _, gain in guess))
        count = self._best_count(gains, len(sequences), awaited)
        least = gains[count - 1] if count else 2.0
        chosen = [[token for token, gain in guess if gain >= least] for guess in guesses]
        surplus = sum(map(len, chosen)) - count  # equal gains at the limit
        for drafts in chosen:
            while surplus > 0 and drafts:
                drafts.pop()
                surplus -= 1
        return chosen

    def _best_count(self, gains: list[float], rows: int, awaited: bool) -> int:
        """Returns how many drafts give the most tokens per second, 0 for none.

        Args:
            gains: expected tokens of each draft, in descending order.
            rows: number of sequences.
            awaited: whether the step is awaited even without drafts.
        """
        tokens = [float(rows), *accumulate(gains, initial=rows)][1:]
        best, speed = 0, rows / max(self.times.seconds(rows, awaited), 1e-9)
        for bucket in self.times.buckets:
            count = min(bucket - rows, len(gains))
            if count > 0 and (faster := tokens[count] / max(self.times.seconds(bucket, True), 1e-9)) > speed:
                best, speed = count, faster
        return best

    def _guesses(self, sequence: Sequence, limit: int) -> list[tuple[int, float]]:
        """Returns at most `limit` guessed tokens of a sequence, each with the expected tokens that it adds."""
        ahead = sequence.dispatched - sequence.sampled
        limit = min(limit, sequence.request.max_tokens - sequence.dispatched - 1)
        if limit <= 0:
            return []
        found, gain = [], 1.0
        for place, (token, right) in enumerate(_next_tokens(sequence, ahead + limit)):
            gain *= right
            if gain < _LEAST_GAIN or token in sequence.request.stop_tokens:
                break
            if place >= ahead:
                found.append((token, gain))
        return found


def _next_tokens(sequence: Sequence, limit: int) -> list[tuple[int, float]]:
    """Returns guesses of a sequence's next tokens, at most `limit`, each with the probability that it is right."""
    guesses = _lookup(sequence).guesses(limit)
    forced = sequence.constraint.forced()[:limit] if sequence.constraint else []
    agree = [token for token, _ in guesses[: len(forced)]] == forced
    return [(token, _FORCED) for token in forced] + (guesses[len(forced) :] if agree else [])


def _lookup(sequence: Sequence) -> PromptLookup:
    """Returns the sequence's lookup, which knows all its tokens. It is made when it is first needed."""
    if sequence.lookup is None:
        sequence.lookup = PromptLookup(sequence.prompt_index)
    lookup = sequence.lookup
    for token in sequence.tokens[lookup.answered :]:
        lookup.append(token)
    return lookup
