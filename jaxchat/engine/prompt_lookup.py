"""Prompt lookup: guesses a sequence's next tokens from an earlier place that has the same newest tokens.

The idea is that of github.com/apoorvumang/prompt-lookup-decoding: answers often repeat pieces of their prompt, such as
code that is edited, names and facts.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np

_RUN = 3  # tokens of a long match; a short one is of the newest token alone
_LONGEST = 8  # matches of this length and more have one rate
_ID_BITS = 20  # three ids in one key; ids that share bits only lead to a wrong guess
_WEIGHT = 4.0  # of the first estimate of a rate, in guesses
_MEMORY = 0.97  # weight of a guess after each later one
_FIRST = (0.0, 0.2, 0.4, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9)  # first estimate by length, measured on edits and extracts


class PromptIndex:
    """The tokens before an answer, with the places after each token and each run. All choices of a request share it.

    It is built when it is first used: a sort of 60,000 tokens takes 10 ms, without the GIL.
    """

    def __init__(self, prompt: np.ndarray, prediction: np.ndarray | None = None) -> None:
        """Keeps the tokens.

        Args:
            prompt: i32 `[tokens]`.
            prediction: tokens that the answer is expected to be like, i32 `[tokens]`, or None. They come before the
                prompt here.
        """
        self.tokens = prompt if prediction is None else np.concatenate((prediction, prompt))
        self.predicts = prediction is not None and len(prediction) > 0

    def after_token(self, token: int) -> int:
        """Returns the last place after a token, or -1. The place after the newest token does not count."""
        return _last(self._tokens_by_key, token, 1)

    def after_run(self, key: int) -> int:
        """Returns the last place after a run of tokens with a key of `_key`, or -1, likewise."""
        return _last(self._runs_by_key, key, _RUN)

    @cached_property
    def _tokens_by_key(self) -> tuple[np.ndarray, np.ndarray]:
        return _sorted(self.tokens[:-1].astype(np.int64))

    @cached_property
    def _runs_by_key(self) -> tuple[np.ndarray, np.ndarray]:
        count = max(0, len(self.tokens) - _RUN)
        keys = np.zeros(count, np.int64)
        for first in range(_RUN):
            keys = keys << _ID_BITS | self.tokens[first : first + count]
        return _sorted(keys)


class PromptLookup:
    """Guesses of one sequence's next tokens, each with the probability that it is right.

    The probabilities are estimated from the sequence's own earlier guesses, whether they were used as drafts or not.
    """

    def __init__(self, before: PromptIndex) -> None:
        """Starts before the answer's first token. With a prediction, the first guess is its beginning.

        Args:
            before: the prompt and the prediction.
        """
        self._index = before
        self._tokens: list[int] = before.tokens.tolist()
        self._after_token: dict[int, int] = {}  # places in the answer; they come before those of the prompt
        self._after_run: dict[int, int] = {}
        self._place = 0 if before.predicts else -1  # of the next guess; -1: there is none
        self._length = _LONGEST if before.predicts else 0  # how many tokens before the guess are the newest tokens
        self._right = [_WEIGHT * rate for rate in _FIRST]
        self._guesses = [_WEIGHT] * len(_FIRST)
        if self._place < 0:
            self._search()

    @property
    def answered(self) -> int:
        """The number of tokens that were appended."""
        return len(self._tokens) - len(self._index.tokens)

    def append(self, token: int) -> None:
        """Adds the sequence's next token."""
        tokens, place = self._tokens, self._place
        if place >= 0:
            index = min(self._length, _LONGEST)
            self._guesses[index] = self._guesses[index] * _MEMORY + 1
            self._right[index] *= _MEMORY
            if tokens[place] == token:
                self._right[index] += 1
                self._place, self._length = place + 1, self._length + 1
            else:
                self._place, self._length = -1, 0
        if tokens:
            self._after_token[tokens[-1]] = len(tokens)
        if len(tokens) >= _RUN:
            self._after_run[_key(tokens)] = len(tokens)
        tokens.append(token)
        if self._length < _RUN:
            self._search()

    def guesses(self, limit: int) -> list[tuple[int, float]]:
        """Returns the next tokens, each with the probability that it is right if those before it are.

        There are `limit` or none. Where the place is near the end, what follows it is repeated.
        """
        if self._place < 0:
            return []
        tokens = self._tokens[self._place : self._place + limit]
        while len(tokens) < limit:
            tokens += tokens[: limit - len(tokens)]
        return [(token, self._rate(self._length + ahead)) for ahead, token in enumerate(tokens)]

    def _rate(self, length: int) -> float:
        index = min(length, _LONGEST)
        return self._right[index] / self._guesses[index]

    def _search(self) -> None:
        """Finds a place with a long match, or with a short one if there is none yet."""
        tokens = self._tokens
        if len(tokens) > _RUN:
            key = _key(tokens)
            place = self._after_run.get(key, -1)
            place = place if place >= 0 else self._index.after_run(key)
            if place >= 0:
                self._place, self._length = place, _RUN
                return
        if tokens and not self._length:
            place = self._after_token.get(tokens[-1], -1)
            place = place if place >= 0 else self._index.after_token(tokens[-1])
            if place >= 0:
                self._place, self._length = place, 1


def _key(tokens: list[int]) -> int:
    """Returns the key of the newest `_RUN` tokens."""
    return (tokens[-3] << _ID_BITS | tokens[-2]) << _ID_BITS | tokens[-1]


def _sorted(keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns keys i64 `[n]` in ascending order, and the index of each, in ascending order among equal keys."""
    order = np.argsort(keys, kind="stable")
    return keys[order], order


def _last(by_key: tuple[np.ndarray, np.ndarray], key: int, size: int) -> int:
    """Returns the place after the last run of `size` tokens with this key, or -1."""
    keys, order = by_key
    index = int(keys.searchsorted(key, side="right")) - 1
    return int(order[index]) + size if index >= 0 and keys[index] == key else -1
