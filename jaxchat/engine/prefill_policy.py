"""Divides the device between prefill and decode: decides how many prompt tokens come between two decode steps."""

from __future__ import annotations

from itertools import pairwise


class PrefillPolicy:
    """A policy that alternates prefill and decode steps.

    The size of a prefill step is one of the buckets. While no sequence could decode, any bucket is allowed. Otherwise,
    the number of prompt tokens before the next decode step is limited to a few quotas. A quota is the size of the
    largest bucket that is at most twice the smallest bucket.

    With s sequences that could start, and r sequences that could decode, the limit is s / r quotas, rounded down. For
    example, it is three quotas for s = 7 and r = 2. The limit is at least one quota, and at most the largest bucket. No
    decode step therefore waits for more tokens than one prefill step can compute.
    """

    def __init__(self, prefill_buckets: tuple[int, ...]) -> None:
        """Starts with an empty history.

        Args:
            prefill_buckets: sizes of the prefill steps in tokens, in ascending order, each a multiple of the first.
        """
        self._buckets = prefill_buckets
        self._quota = max(size for size in prefill_buckets if size <= 2 * prefill_buckets[0])
        self._used = self._allowed = 0  # prompt tokens since the last decode step

    def allowance(self, running: int, startable: int) -> int:
        """Returns how many prompt tokens may still be computed before the next decode step.

        If the result is 0 or less, a decode step is next.

        Args:
            running: number of sequences that could decode now.
            startable: number of sequences that could be prefilled now. They are the sequence whose prefill has begun,
                and one waiting sequence for each free slot.
        """
        most = self._buckets[-1]
        if not self._used and running:
            self._allowed = min(self._quota * max(1, startable // running), most)
        return self._allowed - self._used if running else most

    def next_size(self, tokens: int, running: int, startable: int) -> int:
        """Returns the size of the next prefill step in tokens, or 0 if a decode step is next.

        Args:
            tokens: prompt tokens that could be computed now.
            running: as for `allowance`.
            startable: as for `allowance`.
        """
        remaining = self.allowance(running, startable)
        if remaining <= 0:
            return 0
        least = self._buckets[0]
        fitting = [size for size in self._buckets if size <= max(remaining, least)]
        # A larger step that would be nearly full takes at most as long as several smaller ones.
        nearly_full = (size for below, size in pairwise(fitting) if size - below < tokens <= size)
        return next(nearly_full, None) or max((size for size in fitting if size <= tokens), default=least)

    def prefilled(self, tokens: int) -> None:
        """Records a prefill step with `tokens` tokens. Its size is the smallest bucket that holds the tokens."""
        self._used += next(size for size in self._buckets if size >= tokens)

    def decoded(self) -> None:
        """Records a decode step."""
        self._used = 0
