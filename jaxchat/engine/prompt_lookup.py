"""Prompt lookup: guesses the next tokens of a sequence from an earlier place where its newest tokens occurred.

The idea is that of github.com/apoorvumang/prompt-lookup-decoding: answers often repeat pieces of their prompt, such as
code that is edited, names and facts.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np

_RUN = 3  # tokens of a long match; a short one is of the newest token alone
_LONGEST = 8  # matches of this length and more have one rate
_ID_BITS = 20  # three ids in one key; ids that share bits only lead to a wrong guess
_WEIGHT = 4.0  # weight of the first estimate of a rate, as a number of guesses
_MEMORY = 0.97  # weight of a guess after each later one
_FORCED = 0.95  # first estimate for tokens that a grammar forces
_MOST = 32_768  # tokens of a prompt, and of a prediction, that are kept
_FIRST = (0.0, 0.2, 0.4, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9)  # first estimate by length, measured on edits and extracts


class PromptIndex:
    """The tokens before an answer, with an index of the last occurrence of each token and of each run of three tokens.

    All choices of a request share it. The index is built at its first use. This takes 10 ms for the longest prompts.
    """

    def __init__(self, prompt: np.ndarray, prediction: np.ndarray | None = None) -> None:
        """Keeps the tokens: the last 32,768 of the prompt, after the first 32,768 of the prediction.

        Args:
            prompt: i32 `[tokens]`.
            prediction: tokens that the answer is expected to be like, i32 `[tokens]`, or None.
        """
        prompt = prompt[-_MOST:]
        self.tokens = prompt if prediction is None else np.concatenate((prediction[:_MOST], prompt))
        self.predicts = prediction is not None and len(prediction) > 0

    def after_token(self, token: int) -> int:
        """Returns the index in `tokens` after the last occurrence of a token, or -1. The last entry does not count."""
        return _last(self._tokens_by_key, token, 1)

    def after_run(self, key: int) -> int:
        """Returns the index in `tokens` after the last occurrence of three tokens, or -1. The last three do not count.

        Args:
            key: the tokens, as `_key` gives them.
        """
        return _last(self._runs_by_key, key, _RUN)

    @cached_property
    def as_list(self) -> list[int]:
        """The tokens as a list."""
        return list(self.tokens.tolist())

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

    def __init__(self, before: PromptIndex, answer: list[int]) -> None:
        """Starts before the answer's first token. With a prediction, the first guess is its beginning.

        Args:
            before: the prompt and the prediction.
            answer: the tokens of the answer, to which the caller appends. `catch_up` reads them.
        """
        self._index, self._before, self._answer = before, before.as_list, answer
        self._read = 0  # tokens of the answer
        self._after_token: dict[int, int] = {}  # places in the answer, which are preferred to those before it
        self._after_run: dict[int, int] = {}
        self._place = 0 if before.predicts else -1  # of the next guess; -1: there is none
        self._length = _LONGEST if before.predicts else 0  # how many tokens before the guess equal the newest ones
        self._right = [_WEIGHT * rate for rate in _FIRST]
        self._guesses = [_WEIGHT] * len(_FIRST)
        self._newest = tuple(self._before[-_RUN:])
        if self._place < 0:
            self._search()

    def catch_up(self) -> None:
        """Reads the tokens that the answer has got since the last call."""
        while self._read < len(self._answer):
            self._follow(self._answer[self._read])

    def guesses(self, limit: int) -> list[tuple[int, float]]:
        """Returns exactly `limit` guesses of the next tokens, or none if the newest tokens did not occur before.

        Each comes with the probability that it is right if all guesses before it are. If the text at the earlier place
        ends before `limit` tokens, its tokens are repeated from the first one on.
        """
        if self._place < 0:
            return []
        tokens = self._before[self._place : self._place + limit]
        rest = max(0, self._place - len(self._before))
        tokens += self._answer[rest : min(self._read, rest + limit - len(tokens))]
        while len(tokens) < limit:
            tokens += tokens[: limit - len(tokens)]
        return [(token, self._rate(self._length + ahead)) for ahead, token in enumerate(tokens)]

    def _follow(self, token: int) -> None:
        """Moves past one token of the answer: checks its guess, remembers its place and guesses what is next."""
        place, before = self._place, len(self._before)
        if place >= 0:
            index = min(self._length, _LONGEST)
            self._guesses[index] = self._guesses[index] * _MEMORY + 1
            self._right[index] *= _MEMORY
            if token == (self._before[place] if place < before else self._answer[place - before]):
                self._right[index] += 1
                self._place, self._length = place + 1, self._length + 1
            else:
                self._place, self._length = -1, 0
        newest = self._newest
        if newest:
            self._after_token[newest[-1]] = before + self._read
        if len(newest) == _RUN:
            self._after_run[_key(newest)] = before + self._read
        self._newest = (*newest[-_RUN + 1 :], token)
        self._read += 1
        if self._length < _RUN:
            self._search()

    def _rate(self, length: int) -> float:
        index = min(length, _LONGEST)
        return self._right[index] / self._guesses[index]

    def _search(self) -> None:
        """Finds a place with a long match, or with a short one if there is none yet."""
        newest = self._newest
        if len(newest) == _RUN:
            key = _key(newest)
            place = self._after_run.get(key, -1)
            place = place if place >= 0 else self._index.after_run(key)
            if place >= 0:
                self._place, self._length = place, _RUN
                return
        if newest and not self._length:
            place = self._after_token.get(newest[-1], -1)
            place = place if place >= 0 else self._index.after_token(newest[-1])
            if place >= 0:
                self._place, self._length = place, 1


class ForcedRate:
    """An estimate of how often the model samples the tokens that a grammar forces.

    The model may split the same text into other tokens.
    """

    def __init__(self) -> None:
        self._right, self._guesses = _WEIGHT * _FORCED, _WEIGHT
        self._place, self._tokens = 0, list[int]()

    def next(self, forced: list[int], answer: list[int]) -> float:
        """Compares the last guess with the answer, keeps `forced` as the next one, and returns its probability.

        Args:
            forced: tokens that the grammar forces after the answer.
            answer: the tokens of the answer so far.
        """
        for guess, token in zip(self._tokens, answer[self._place :], strict=False):
            self._guesses = self._guesses * _MEMORY + 1
            self._right = self._right * _MEMORY + (guess == token)
            if guess != token:
                break
        self._place, self._tokens = len(answer), forced
        return self._right / self._guesses


def _key(tokens: tuple[int, ...]) -> int:
    """Returns an integer that identifies a run of `_RUN` tokens."""
    return (tokens[-3] << _ID_BITS | tokens[-2]) << _ID_BITS | tokens[-1]


def _sorted(keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns keys i64 `[n]` in ascending order, and the index of each, in ascending order among equal keys."""
    order = np.argsort(keys, kind="stable")
    return keys[order], order


def _last(by_key: tuple[np.ndarray, np.ndarray], key: int, size: int) -> int:
    """Returns the place after the last run of `size` tokens with this key, or -1.

    Args:
        by_key: the result of `_sorted`.
        key: the key.
        size: number of tokens in a run.
    """
    keys, order = by_key
    index = int(keys.searchsorted(key, side="right")) - 1
    return int(order[index]) + size if index >= 0 and keys[index] == key else -1
