"""Sequences that wait for a slot, and the prompt that is being prefilled. They are served in order of arrival."""

from __future__ import annotations

from collections import OrderedDict

import numpy as np

from jaxchat.engine.kv_cache_manager import KVCacheManager
from jaxchat.engine.prefill_policy import PrefillPolicy
from jaxchat.engine.sequence import Sequence
from jaxchat.types import PrefillWork


class PrefillQueue:
    """A queue of sequences whose prompts are not computed yet. One of them has a slot and is being prefilled."""

    def __init__(
        self, kv_cache: KVCacheManager, free_slots: list[int], *, prefill_buckets: tuple[int, ...], mask_words: int
    ) -> None:
        """Starts empty.

        Args:
            kv_cache: gives pages to admitted sequences.
            free_slots: slots without a sequence. The queue takes slots from its end.
            prefill_buckets: sizes of the prefill steps in tokens, in ascending order, each a multiple of the first.
            mask_words: size of a row of a token mask, in words.
        """
        self.policy = PrefillPolicy(prefill_buckets)
        self.prefilling: Sequence | None = None
        self._kv_cache, self._free_slots, self._words = kv_cache, free_slots, mask_words
        self._waiting: OrderedDict[tuple[int, int], Sequence] = OrderedDict()  # by arrival

    def __len__(self) -> int:
        """The number of sequences without a slot."""
        return len(self._waiting)

    def add(self, sequence: Sequence) -> None:
        """Appends a sequence."""
        self._waiting[sequence.arrival] = sequence

    def discard(self, sequence: Sequence) -> bool:
        """Removes a sequence that waits for a slot. Returns False if it does not wait."""
        return self._waiting.pop(sequence.arrival, None) is not None

    def admit(self, spare: int) -> None:
        """Gives a slot and pages to the next sequence, if none is being prefilled and there is room.

        Args:
            spare: number of pages that must remain available.
        """
        if self.prefilling or not self._waiting or not self._free_slots:
            return
        sequence = next(iter(self._waiting.values()))
        if not self._kv_cache.allocate(sequence, len(sequence.prompt), spare):
            return
        self._waiting.popitem(last=False)
        sequence.prefilled = sequence.cached_tokens = len(sequence.pages) * self._kv_cache.page_size
        sequence.slot = self._free_slots.pop()
        sequence.constraint = sequence.request.grammar.start() if sequence.request.grammar else None
        self.prefilling = sequence

    def schedule(self, running: int) -> tuple[PrefillWork, Sequence] | None:
        """Chooses the next prefill step and returns it with its sequence. Returns None if a decode step is next.

        Args:
            running: number of sequences that could decode now.
        """
        sequence = self.prefilling
        if sequence is None:
            return None
        startable = 1 + min(len(self._waiting), len(self._free_slots))
        size = self.policy.next_size(len(sequence.prompt) - sequence.prefilled, running, startable)
        return (self._prefill(sequence, size), sequence) if size else None

    def _prefill(self, sequence: Sequence, size: int) -> PrefillWork:
        start = sequence.prefilled
        tokens = sequence.prompt[start : start + size]
        self.policy.prefilled(size)
        sequence.prefilled = start + len(tokens)
        self._kv_cache.extend(sequence, sequence.prefilled)
        last = sequence.prefilled == len(sequence.prompt)
        work = PrefillWork(
            slot=sequence.slot,
            tokens=tokens,
            start=start,
            last=last,
            pages=np.array(sequence.pages, np.int32),
            choice=sequence.choice,
            sampling=sequence.request.sampling,
            token_mask=self._token_mask(sequence) if last else None,
            prompt=sequence.prompt if last and sequence.request.sampling.repetition_penalty != 1 else None,
        )
        self._kv_cache.cache_chunks(sequence)
        if last:
            sequence.dispatched = 1
            self.prefilling = None
        return work

    def _token_mask(self, sequence: Sequence) -> np.ndarray | None:
        """Returns the tokens that a constrained sequence may sample, as bits u32 `[1, words]`; otherwise None."""
        if not sequence.constrained:
            return None
        bits = np.zeros((1, self._words), np.uint32)
        sequence.constraint_failed = not sequence.fill_mask(bits[0])
        return bits
