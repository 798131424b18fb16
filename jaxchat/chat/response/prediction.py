"""Counts the tokens of a request's prediction that an answer repeats.

The count depends on the prediction and on the answer alone. It is not the number of drafts that the engine accepted,
which depends on load.
"""

from __future__ import annotations

from collections import deque

import numpy as np


class Prediction:
    """The tokens of a prediction, with an index of the last occurrence of each token and of each run of three."""

    def __init__(self, tokens: np.ndarray) -> None:
        """Indexes the prediction's tokens, i32 `[tokens]`."""
        self.tokens: list[int] = tokens.tolist()
        self._after: dict[tuple[int, ...], int] = {}  # the last place that follows each run of one or three tokens
        for size in (1, 3):
            runs = zip(*(self.tokens[first:] for first in range(size)), strict=False)
            self._after.update(zip(runs, range(size, len(self.tokens)), strict=False))

    def place_after(self, newest: tuple[int, ...]) -> int | None:
        """Returns the place after the last occurrence of three tokens or, if they do not occur, of the newest alone.

        Args:
            newest: the three tokens; fewer at the beginning of an answer.

        Returns:
            An index into `tokens`, or None if neither occurs with a token after it.
        """
        return self._after.get(newest) or self._after.get(newest[-1:])


class PredictionMatcher:
    """A comparison of one choice with the prediction.

    Compares each token of the choice with one of the prediction, from their beginnings on. Equal ones are accepted.
    After a difference, and after the end of the prediction, `Prediction.place_after` finds the place at which the
    comparison continues.

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
        """The number of the prediction's tokens that were accepted, each counted once."""
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
