"""How long decode steps take, by their program, as seen so far."""

from __future__ import annotations

from bisect import bisect_left

_RISE = 0.1  # weight of a step that took longer than the estimate; a shorter one replaces it
_FORGET = 0.002  # how much nearer to that of the next smaller program an unused estimate comes with each step


class StepTimes:
    """Estimates of the seconds between the results of two decode steps, by number of rows and whether it is awaited.

    The host cannot prepare the step after an awaited one meanwhile, so that time counts too. Estimates of programs that
    have never run are those of the next smaller one, and other estimates come nearer to that with time. Each program is
    therefore tried now and then, however slow it was once.
    """

    def __init__(self, buckets: tuple[int, ...]) -> None:
        """Starts without estimates.

        Args:
            buckets: row counts of the decode programs, in ascending order.
        """
        self.buckets = buckets
        self._seconds: dict[tuple[int, bool], float] = {}

    def bucket(self, rows: int) -> int:
        """Returns the row count of the smallest program that has `rows` rows."""
        return self.buckets[bisect_left(self.buckets, rows)]

    def took(self, rows: int, awaited: bool, seconds: float) -> None:
        """Adds a step of `rows` rows that took `seconds`."""
        key = self.bucket(rows), awaited
        known = self._seconds.get(key, seconds)
        # A step that another process disturbs can take any time.
        self._seconds[key] = min(seconds, known + _RISE * (min(seconds, 2 * known) - known))
        for other in self._seconds:
            if other != key and (smaller := self._smaller(*other)) in self._seconds:
                self._seconds[other] += _FORGET * (self._seconds[smaller] - self._seconds[other])

    def seconds(self, rows: int, awaited: bool) -> float:
        """Returns the estimate for a step of `rows` rows; 0 if no smaller program has run either."""
        key: tuple[int, bool] | None = (self.bucket(rows), awaited)
        while key and key not in self._seconds:
            key = self._smaller(*key)
        return self._seconds[key] if key else 0.0

    def _smaller(self, rows: int, awaited: bool) -> tuple[int, bool] | None:
        """Returns the program whose estimate bounds this one from below: the next smaller one, or without waiting."""
        index = self.buckets.index(rows)
        if index:
            return self.buckets[index - 1], awaited
        return (rows, False) if awaited else None
