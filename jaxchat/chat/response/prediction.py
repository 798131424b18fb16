"""Counts the tokens of a request's prediction that an answer repeats.

The number depends only on the prediction and on the answer. It is not the number of drafts that the engine accepted,
because that number depends on the load.
"""

from __future__ import annotations

from collections import deque

import numpy as np


class Prediction:
    """The tokens of a prediction, with an index that finds the last place of a token or of three successive tokens."""

    def __init__(self, tokens: np.ndarray) -> None:
        """Indexes the prediction's tokens, i32 `[tokens]`."""
        self.tokens: list[int] = tokens.tolist()
        self._after: dict[tuple[int, ...], int] = {}  # the place after the last occurrence of one or three tokens
        for size in (1, 3):
            runs = zip(*(self.tokens[first:] for first in range(size)), strict=False)
            self._after.update(zip(runs, range(size, len(self.tokens)), strict=False))

    def place_after(self, newest: tuple[int, ...]) -> int | None:
        """Finds the newest tokens of an answer in the prediction, and returns the place after them.

        Searches for the last place where the three newest tokens are followed by another token. If it does not find
        such a place, searches in the same way for the newest token alone.

        Args:
            newest: the three newest tokens; fewer at the beginning of an answer.

        Returns:
            An index into `tokens`, or None if both searches find nothing.
        """
        return self._after.get(newest) or self._after.get(newest[-1:])


class PredictionMatcher:
    """A comparison of one choice with the prediction.

    Compares the first token of the choice with the first token of the prediction, the second with the second, and so
    on. Equal tokens are accepted. After a difference, and after the end of the prediction, `Prediction.place_after`
    gives the place in the prediction at which the comparison continues.

    Args:
        prediction: the prediction.
    """

    def __init__(self, prediction: Prediction) -> None:
        self._prediction = prediction
        self._place: int | None = 0  # of the prediction's next token; None: unknown
        self._newest: deque[int] = deque(maxlen=3)
        self._accepted: set[int] = set()  # places

    @property
    def accepted(self) -> int:
        """The number of tokens of the prediction that were accepted. Each token is counted once."""
        return len(self._accepted)

    def append(self, token: int) -> None:
        """Compares the choice's next token with the prediction."""
        self._newest.append(token)
        tokens, place = self._prediction.tokens, self._place
        if place is not None and tokens[place] == token:
            self._accepted.add(place)
            if place + 1 < len(tokens):
                self._place = place + 1
                return
        self._place = self._prediction.place_after(tuple(self._newest))
