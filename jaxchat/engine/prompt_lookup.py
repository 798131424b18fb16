"""Prompt lookup: finds an earlier place where the newest tokens occur, and guesses that the same tokens follow again.

The idea is that of github.com/apoorvumang/prompt-lookup-decoding: answers often repeat pieces of their prompt, such as
code that is edited, names and facts.
"""

from __future__ import annotations

from bisect import bisect_right
from functools import cached_property

import numpy as np

_RUN = 3  # tokens of a long match; a short one is of the newest token alone
_LONGEST = 8  # matches of this length and more have one rate
_ID_BITS = 20  # three ids in one key; ids that share bits only lead to a wrong guess
_RUN_BITS = (1 << _RUN * _ID_BITS) - 1
_WEIGHT = 4.0  # weight of the first estimate of a rate, as a number of guesses
_MEMORY = 0.97  # weight of a guess after each later one
_FORCED = 0.95  # first estimate for tokens that a grammar forces
_MOST = 32_768  # tokens of a prompt, and of a prediction, that are kept
_FIRST = (0.0, 0.2, 0.4, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9)  # first estimate by length, measured on edits and extracts


class PromptIndex:
    """The tokens before an answer. An index finds the last occurrence of a token, or of three tokens in a row.

    All choices of a request share it. The index is built when it is first used. This takes 10 ms for the longest
    prompts.
    """

    def __init__(self, prompt: np.ndarray, prediction: np.ndarray | None = None) -> None:
        """Keeps the first 32,768 tokens of the prediction, followed by the last 32,768 tokens of the prompt.

        Args:
            prompt: i32 `[tokens]`.
            prediction: tokens of a text that the answer is expected to resemble, i32 `[tokens]`, or None.
        """
        prompt = prompt[-_MOST:]
        self.tokens = prompt if prediction is None else np.concatenate((prediction[:_MOST], prompt))
        self.predicts = prediction is not None and len(prediction) > 0

    def after_token(self, token: int) -> int:
        """Returns the index in `tokens` after the last occurrence of a token, or -1 if there is none.

        An occurrence at the end of `tokens` does not count, because no token follows it.
        """
        return _last(self._tokens_by_key, token, 1)

    def after_run(self, key: int) -> int:
        """Returns the index in `tokens` after the last occurrence of three tokens in a row, or -1 if there is none.

        An occurrence at the end of `tokens` does not count, because no token follows it.

        Args:
            key: the result of `_key` for the three tokens.
        """
        return _last(self._runs_by_key, key, _RUN)

    @cached_property
    def as_list(self) -> list[int]:
        """The tokens as a list."""
        return list(self.tokens.tolist())

    @cached_property
    def _tokens_by_key(self) -> tuple[memoryview, memoryview]:
        return _sorted(self.tokens[:-1].astype(np.int64))

    @cached_property
    def _runs_by_key(self) -> tuple[memoryview, memoryview]:
        count = max(0, len(self.tokens) - _RUN)
        keys = np.zeros(count, np.int64)
        for first in range(_RUN):
            keys = keys << _ID_BITS | self.tokens[first : first + count]
        return _sorted(keys & _RUN_BITS)


class PromptLookup:
    """Guesses of one sequence's next tokens, each with the probability that it is right.

    The probabilities are estimated from the sequence's own earlier guesses, whether they were used as drafts or not.
    """

    def __init__(self, before: PromptIndex, answer: list[int]) -> None:
        """Starts before the answer's first token. The first guess is the beginning of the prediction, if any.

        Args:
            before: the prompt and the prediction.
            answer: the list to which the caller appends the tokens of the answer. `catch_up` reads new tokens from it.
        """
        self._index, self._before, self._answer = before, before.as_list, answer
        self._read = self._indexed = 0  # tokens of the answer
        self._after_token: dict[int, int] = {}  # places in the answer, which are preferred to those before it
        self._after_run: dict[int, int] = {}
        self._place = 0 if before.predicts else -1  # of the next guess; -1: there is none
        self._length = _LONGEST if before.predicts else 0  # how many tokens before the guess equal the newest ones
        self._rates = list(_FIRST)  # by length of the match
        self._guesses = [_WEIGHT] * len(_FIRST)
        self._newest, self._run = (self._before[-1] if self._before else -1), -1  # -1: there are too few tokens
        if len(self._before) >= _RUN:
            self._run = _key(self._before[-_RUN:])
        if self._place < 0:
            self._search()

    def catch_up(self) -> None:
        """Reads the tokens that were appended to the answer since the last call."""
        while self._read < len(self._answer):
            if self._place >= 0:
                self._follow()
            else:
                self._read += 1
            if self._length < _RUN:
                self._search()

    def guesses(self, limit: int) -> list[tuple[int, float]]:
        """Returns exactly `limit` guesses of the next tokens, or none if the newest tokens did not occur before.

        Each guess comes with the probability that it is right, provided that all guesses before it are right. If fewer
        than `limit` tokens follow the earlier occurrence, these tokens are repeated from the first one on.
        """
        if self._place < 0:
            return []
        tokens = self._before[self._place : self._place + limit]
        if len(tokens) < limit:
            rest = max(0, self._place - len(self._before))
            tokens += self._answer[rest : min(self._read, rest + limit - len(tokens))]
            while len(tokens) < limit:
                tokens += tokens[: limit - len(tokens)]
        rates = self._rates[min(self._length, _LONGEST) :]
        rates += rates[-1:] * (limit - len(rates))
        return list(zip(tokens, rates, strict=False))

    def _follow(self) -> None:
        """Compares new tokens of the answer with the guesses, and updates the rates of right guesses.

        Stops after a wrong guess. While fewer than three of the newest tokens equal the tokens at the earlier place,
        also stops after each right guess, because a search may now find a place where three tokens are equal.
        """
        before, answer, end = self._before, self._answer, len(self._before)
        place, length, read = self._place, self._length, self._read
        rates, guesses = self._rates, self._guesses
        while read < len(answer):
            right = answer[read] == (before[place] if place < end else answer[place - end])
            index = length if length < _LONGEST else _LONGEST
            kept = guesses[index] * _MEMORY
            guesses[index] = kept + 1
            rates[index] = (rates[index] * kept + right) / (kept + 1)
            read += 1
            place, length = (place + 1, length + 1) if right else (-1, 0)
            if length < _RUN:
                break
        self._place, self._length, self._read = place, length, read

    def _index_answer(self) -> None:
        """Remembers the places of the tokens that were read since the last call."""
        here = len(self._before) + self._indexed
        newest, run = self._newest, self._run
        for token in self._answer[self._indexed : self._read]:
            if newest >= 0:
                self._after_token[newest] = here
            if run >= 0:
                self._after_run[run] = here
                run = (run << _ID_BITS | token) & _RUN_BITS
            elif here + 1 >= _RUN:
                run = _key((self._before + self._answer[:_RUN])[:_RUN])
            newest = token
            here += 1
        self._newest, self._run, self._indexed = newest, run, self._read

    def _search(self) -> None:
        """Looks for an earlier place of the three newest tokens, and if there is none, of the newest token alone.

        Does not look for the newest token alone if the place of an earlier search still gives right guesses.
        """
        self._index_answer()
        if self._run >= 0:
            place = self._after_run.get(self._run, -1)
            place = place if place >= 0 else self._index.after_run(self._run)
            if place >= 0:
                self._place, self._length = place, _RUN
                return
        if self._newest >= 0 and not self._length:
            place = self._after_token.get(self._newest, -1)
            place = place if place >= 0 else self._index.after_token(self._newest)
            if place >= 0:
                self._place, self._length = place, 1


class ForcedRate:
    """An estimate of the probability that the model samples a token that a grammar forces.

    The model may split the forced text into other tokens.
    """

    def __init__(self) -> None:
        self._right, self._guesses = _WEIGHT * _FORCED, _WEIGHT
        self._place, self._tokens = 0, list[int]()

    def next(self, forced: list[int], answer: list[int]) -> float:
        """Compares the last guess with the answer, and keeps `forced` as the next guess.

        Args:
            forced: tokens that the grammar forces after the answer.
            answer: the tokens of the answer so far.

        Returns:
            The probability that a forced token is right.
        """
        for guess, token in zip(self._tokens, answer[self._place :], strict=False):
            self._guesses = self._guesses * _MEMORY + 1
            self._right = self._right * _MEMORY + (guess == token)
            if guess != token:
                break
        self._place, self._tokens = len(answer), forced
        return self._right / self._guesses


def _key(tokens: list[int]) -> int:
    """Returns an integer that identifies `_RUN` tokens in a row."""
    return ((tokens[0] << _ID_BITS | tokens[1]) << _ID_BITS | tokens[2]) & _RUN_BITS


def _sorted(keys: np.ndarray) -> tuple[memoryview, memoryview]:
    """Sorts keys, i64 `[n]`, and returns them with the index that each had before. Equal keys keep their order."""
    order = np.argsort(keys, kind="stable")
    return keys[order].data, order.data  # a memoryview gives one element in less time than an array


def _last(by_key: tuple[memoryview, memoryview], key: int, size: int) -> int:
    """Returns the index of the token after the last occurrence of a key, or -1 if the key does not occur.

    Args:
        by_key: the result of `_sorted`.
        key: the key.
        size: number of tokens that make a key.
    """
    keys, order = by_key
    index = bisect_right(keys, key) - 1
    return order[index] + size if index >= 0 and keys[index] == key else -1
