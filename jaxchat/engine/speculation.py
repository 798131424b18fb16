"""Chooses the draft tokens of each decode step: guesses in rows that no sequence needs.

A right draft saves its sequence a step. A wrong draft changes nothing, so drafts never change an answer. However,
drafts may cost time: more rows can mean a larger program, and the step after a step with drafts must wait for its
result. Drafts are therefore chosen so that the expected number of tokens per second is largest.
"""

from __future__ import annotations

import logging
from collections import Counter
from itertools import accumulate

import numpy as np

from jaxchat.engine.prompt_lookup import PromptLookup
from jaxchat.engine.sequence import Sequence
from jaxchat.engine.step_times import StepTimes

_LEAST_GAIN = 0.05  # a draft must be expected to add this many tokens
_TURN = 64  # sequences that may have drafts in one step; in a larger one they take turns
Drafts = list[list[int]]
"""The drafts of each sequence of a step, in order of position."""
log = logging.getLogger(__name__)


class Speculation:
    """A policy that gives free rows to the drafts that are most likely to be right."""

    def __init__(self, times: StepTimes, limit: int) -> None:
        """Starts without drafts.

        Args:
            times: the times of decode steps, which the caller keeps up to date.
            limit: maximum number of drafts of one sequence in a step, at most 15; 0: no drafts.
        """
        self.times = times
        self.limit = limit
        self._turn = 0  # index of the first sequence that may have drafts
        self.drafted = self.accepted = 0  # since the start

    def count(self, drafts: np.ndarray, rejected: int) -> None:
        """Counts the drafts of a step.

        Args:
            drafts: the draft of each row, i32 `[R]`; -1 in rows without a draft.
            rejected: number of drafts that were wrong.
        """
        drafted = int((drafts >= 0).sum())
        self.drafted += drafted
        self.accepted += drafted - rejected

    def drafts(self, sequences: list[Sequence], awaited: bool) -> Drafts:
        """Returns the drafts of each sequence for the next step.

        Leaves out drafts that would cost more time than they save. At most 64 sequences have drafts in a step. If there
        are more, they take turns.

        Args:
            sequences: the sequences of the step. Each has one row in addition to the rows of its drafts.
            awaited: whether the step is awaited even without drafts, see `Step.awaited`.
        """
        chosen: Drafts = [[] for _ in sequences]
        free = self.times.buckets[-1] - len(sequences)
        if not (self.limit and free and self._best_count([1.0] * free, len(sequences), awaited)):
            return chosen
        turn = min(len(sequences), _TURN)
        self._turn = (self._turn + turn) % len(sequences)
        most = min(self.limit, max(1, 2 * free // turn))  # twice an even share, to spend little time here
        tokens: dict[int, list[int]] = {}
        gains: list[tuple[float, int]] = []  # with the index of the sequence
        for place in range(self._turn, self._turn + turn):
            index = place % len(sequences)
            tokens[index], each = self._guesses(sequences[index], most)
            gains += [(gain, index) for gain in each]
        gains.sort(reverse=True)
        count = self._best_count([gain for gain, _ in gains[:free]], len(sequences), awaited)
        for index, drafts in Counter(index for _, index in gains[:count]).items():
            chosen[index] = tokens[index][:drafts]
        return chosen

    def _best_count(self, gains: list[float], rows: int, awaited: bool) -> int:
        """Returns the number of drafts that gives the most tokens per second. It is 0 if a step without drafts is best.

        Args:
            gains: expected number of tokens that each draft adds, in descending order.
            rows: number of sequences.
            awaited: whether the step is awaited even without drafts, see `Step.awaited`.
        """
        tokens = [float(rows), *accumulate(gains, initial=rows)][1:]
        best, speed = 0, rows / max(self.times.seconds(rows, awaited), 1e-9)
        for bucket in self.times.buckets:
            count = min(bucket - rows, len(gains))
            if count > 0 and (faster := tokens[count] / max(self.times.seconds(bucket, True), 1e-9)) > speed:
                best, speed = count, faster
        return best

    def _guesses(self, sequence: Sequence, limit: int) -> tuple[list[int], list[float]]:
        """Returns at most `limit` guessed tokens of a sequence, and the expected number of tokens that each adds."""
        ahead = sequence.dispatched - sequence.sampled
        limit = min(limit, sequence.request.max_tokens - sequence.dispatched - 1)
        tokens: list[int] = []
        gains: list[float] = []
        gain, stop_tokens = 1.0, sequence.request.stop_tokens
        for token, right in _next_tokens(sequence, ahead + limit) if limit > 0 else ():
            gain *= right
            if gain < _LEAST_GAIN or token in stop_tokens:
                break
            tokens.append(token)
            gains.append(gain)
        return (tokens[ahead:], gains[ahead:]) if ahead else (tokens, gains)


def _next_tokens(sequence: Sequence, limit: int) -> list[tuple[int, float]]:
    """Returns guesses of a sequence's next tokens, at most `limit`, each with the probability that it is right."""
    if expected := sequence.expected.after(sequence.tokens, limit):
        return [(token, 1.0) for token in expected]
    if sequence.lookup is None:
        sequence.lookup = PromptLookup(sequence.prompt_index, sequence.tokens)
    lookup = sequence.lookup
    lookup.catch_up()
    guesses = lookup.guesses(limit)
    if sequence.constraint is None:
        return guesses
    try:
        forced = sequence.constraint.forced()[:limit]
    except Exception:  # drafts must not end an answer
        log.exception("a grammar does not tell what it forces")
        return []
    rate = sequence.forced_rate.next(forced, sequence.tokens)
    agree = [token for token, _ in guesses[: len(forced)]] == forced
    return [(token, rate) for token in forced] + (guesses[len(forced) :] if agree else [])
