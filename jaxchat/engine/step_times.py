"""Estimates how long decode steps take, from the steps of each program so far."""

from __future__ import annotations

from bisect import bisect_left

_NEW = 0.2  # weight of a new step in an estimate
_FIRST_STEPS = 4  # steps of a program of which the shortest counts, because first steps touch new memory
_FORGET = 0.002  # share of its excess over the next smaller estimate that an estimate loses with each other step


class StepTimes:
    """Estimates of the seconds that a decode step takes, by the number of its rows and whether it is awaited.

    After an awaited step the device waits until the host has prepared the next one. That time is part of the step.

    A program that has never run is assumed to be as fast as the next smaller program that has run. While a program does
    not run, its estimate slowly approaches the estimate of the next smaller program. A program that once was slow is
    therefore tried again later.
    """

    def __init__(self, buckets: tuple[int, ...]) -> None:
        """Starts without estimates.

        Args:
            buckets: row counts of the decode programs, in ascending order.
        """
        self.buckets = buckets
        self._seconds: dict[tuple[int, bool], float] = {}
        self._steps: dict[tuple[int, bool], int] = {}

    def took(self, rows: int, awaited: bool, seconds: float) -> None:
        """Adds a step of `rows` rows that took `seconds`."""
        key = self.buckets[bisect_left(self.buckets, rows)], awaited
        known = self._seconds.get(key, seconds)
        self._steps[key] = self._steps.get(key, 0) + 1
        if self._steps[key] <= _FIRST_STEPS:
            self._seconds[key] = min(known, seconds)
        else:  # within bounds, because another process may disturb a step for any time
            self._seconds[key] = known + _NEW * (min(max(seconds, known / 2), 2 * known) - known)
        for other, estimate in self._seconds.items():
            if other != key and 0 < (smaller := self._smaller(*other)) < estimate:
                self._seconds[other] -= _FORGET * (estimate - smaller)

    def seconds(self, rows: int, awaited: bool) -> float:
        """Returns the estimated seconds of a step of `rows` rows.

        Returns 0 if neither the step's program nor a smaller program has an estimate.
        """
        key = self.buckets[bisect_left(self.buckets, rows)], awaited
        return self._seconds[key] if key in self._seconds else self._smaller(*key)

    def _smaller(self, bucket: int, awaited: bool) -> float:
        """Returns the estimated seconds of the next smaller program that has run with the same value of `awaited`.

        If there is none, uses the estimate for steps that are not awaited. Returns 0 if that is missing too.
        """
        for smaller in reversed(self.buckets[: self.buckets.index(bucket)]):
            if (smaller, awaited) in self._seconds:
                return self._seconds[smaller, awaited]
        return self.seconds(bucket, False) if awaited else 0.0
