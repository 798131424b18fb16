"""Prompt lookup: guesses a sequence's next tokens from an earlier place that has the same newest tokens.

The idea is that of github.com/apoorvumang/prompt-lookup-decoding: answers often repeat pieces of their prompt, such as
code that is edited, names and facts.
"""

from __future__ import annotations

import numpy as np

_RUN = 3  # tokens of a long match; a short one is of the newest token alone
_LONGEST = 8  # matches of this length and more have one rate
_ID_BITS = 20  # three ids in one key; ids that share bits only lead to a wrong guess
_WEIGHT = 4.0  # of the first estimate of a rate, in guesses
_MEMORY = 0.97  # weight of a guess after each later one
_FIRST = (0.0, 0.2, 0.4, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9)  # first estimate by length, measured on edits and extracts


class PromptLookup:
    """Guesses of one sequence's next tokens, each with the probability that it is right.

    The probabilities are estimated from the sequence's own earlier guesses, whether they were used as drafts or not.
    """

    def __init__(self, prompt: np.ndarray, prediction: np.ndarray | None = None) -> None:
        """Reads the prompt.

        Args:
            prompt: i32 `[tokens]`.
            prediction: tokens that the answer is expected to be like, i32 `[tokens]`, or None. The first guess is its
                beginning.
        """
        before = prompt if prediction is None else np.concatenate((prediction, prompt))
        self._tokens: list[int] = before.tolist()
        self._before = len(before)
        self._after_token = _places(before, 1)
        self._after_run = _places(before, _RUN)
        self._place = 0 if prediction is not None and len(prediction) else -1  # of the next guess; -1: there is none
        self._length = _LONGEST if self._place == 0 else 0  # how many tokens before the guess are the newest tokens
        self._right = [_WEIGHT * rate for rate in _FIRST]
        self._guesses = [_WEIGHT] * len(_FIRST)
        if self._place < 0:
            self._search()

    @property
    def answered(self) -> int:
        """The number of tokens that were appended."""
        return len(self._tokens) - self._before

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
        place = self._after_run.get(_key(tokens), -1) if len(tokens) > _RUN else -1
        if place >= 0:
            self._place, self._length = place, _RUN
        elif tokens and not self._length and (place := self._after_token.get(tokens[-1], -1)) >= 0:
            self._place, self._length = place, 1


def _key(tokens: list[int]) -> int:
    """Returns the key of the newest `_RUN` tokens."""
    return (tokens[-3] << _ID_BITS | tokens[-2]) << _ID_BITS | tokens[-1]


def _places(tokens: np.ndarray, size: int) -> dict[int, int]:
    """Returns the last place after each run of `size` tokens, by key, without the place after the newest tokens."""
    count = max(0, len(tokens) - size)
    keys = np.zeros(count, np.int64)
    for first in range(size):
        keys = keys << _ID_BITS | tokens[first : first + count]
    return dict(zip(keys.tolist(), range(size, size + count), strict=True))
