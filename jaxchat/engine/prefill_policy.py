"""How prompts and answers share the device: what is prefilled between two decode steps, and in steps of which size."""

from __future__ import annotations

from itertools import pairwise


class PrefillPolicy:
    """Prompts and answers take turns, prompts by the token.

    Between two decode steps a share of prompts is prefilled, two chunks or less, for each sequence that could start for
    each one that runs: few wait for many, and never longer than the largest prefill step takes.
    """

    def __init__(self, prefill_buckets: tuple[int, ...]) -> None:
        """Args: `prefill_buckets` has the sizes of the prefill steps, rising, each a multiple of the first."""
        self._buckets = prefill_buckets
        self._quota = max(size for size in prefill_buckets if size <= 2 * prefill_buckets[0])
        self._used = self._allowed = 0  # prompt tokens since the last decode step

    def next_size(self, tokens: int, running: int, startable: int) -> int:
        """The size of the next prefill step for a prompt of which `tokens` are left; 0 when it is the answers' turn.

        Args:
            running: sequences that could decode now.
            startable: sequences that wait and find a slot, the one with the prompt included.
        """
        least, most = self._buckets[0], self._buckets[-1]
        if not self._used and running:
            self._allowed = min(self._quota * max(1, startable // running), most)
        remaining = self._allowed - self._used if running else most
        if remaining <= 0:
            return 0
        fitting = [size for size in self._buckets if size <= max(remaining, least)]
        # A step that lacks less than the next smaller one costs no more than several of these.
        nearly_full = (size for below, size in pairwise(fitting) if size - below < tokens <= size)
        return next(nearly_full, None) or max((size for size in fitting if size <= tokens), default=least)

    def prefilled(self, tokens: int) -> None:
        """A prefill step of so many tokens was chosen."""
        self._used += tokens

    def decoded(self) -> None:
        """A decode step was chosen."""
        self._used = 0
