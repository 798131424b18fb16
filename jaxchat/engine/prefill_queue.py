"""Sequences that wait for a slot or are being prefilled, and the prompt tokens that each prefill step computes."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice

import numpy as np

from jaxchat.arithmetic import cdiv
from jaxchat.config import most_slices
from jaxchat.engine.kv_cache_manager import KVCacheManager
from jaxchat.engine.prefill_policy import PrefillPolicy
from jaxchat.engine.sequence import Sequence
from jaxchat.types import PrefillSlice, PrefillWork


@dataclass
class PrefillStep:
    """A prefill step that is being filled: slices of prompts, and the sequences whose prompts end in it.

    `room` is the number of tokens that still fit, `places` the number of slices that still fit.
    """

    room: int
    places: int
    slices: list[PrefillSlice] = field(default_factory=list)
    completed: list[Sequence] = field(default_factory=list)

    @property
    def full(self) -> bool:
        """Whether nothing more fits."""
        return not (self.room and self.places)

    @property
    def work(self) -> PrefillWork:
        """The work for the device. The slices that complete prompts come first, in the order of `completed`."""
        return PrefillWork(tuple(sorted(self.slices, key=lambda part: not part.last)))

    def add(self, part: PrefillSlice, sequence: Sequence) -> None:
        """Adds the next slice of the prompt of `sequence`."""
        self.slices.append(part)
        self.room -= len(part.tokens)
        self.places -= 1
        if part.last:
            self.completed.append(sequence)


class PrefillQueue:
    """A queue of sequences whose prompts are not computed yet. The oldest prompt may be spread over several steps.

    A step completes prompts in order of arrival while they fit. The room that then remains goes to a part of the next
    prompt. However, up to half of the remaining room goes to later prompts that fit whole.

    A long prompt therefore gets at least half of the room that earlier prompts leave. A short prompt need not wait
    until a long prompt is completed. No sequence overtakes a sequence that lacks a slot or pages.

    Prompts in the same step share chunks, just as prompts in successive steps do. This works because a layer writes all
    keys and values of a step before it reads any.
    """

    def __init__(
        self, kv_cache: KVCacheManager, free_slots: list[int], *, prefill_buckets: tuple[int, ...], mask_words: int
    ) -> None:
        """Starts empty.

        Args:
            kv_cache: gives pages to admitted sequences.
            free_slots: the list of slots without a sequence. The queue takes slots from the end of this list.
            prefill_buckets: sizes of the prefill steps in tokens, in ascending order, each a multiple of the first.
            mask_words: number of u32 words in a row of a token mask.
        """
        self.policy = PrefillPolicy(prefill_buckets)
        self.prefilling: Sequence | None = None  # has a slot
        self.looked_up = self.cached = 0  # prompt tokens of all admitted sequences, and those that the cache had
        self._kv_cache, self._free_slots, self._words = kv_cache, free_slots, mask_words
        self._largest = prefill_buckets[-1]
        self._waiting: OrderedDict[tuple[int, int], Sequence] = OrderedDict()  # by arrival

    def __len__(self) -> int:
        """Returns the number of sequences without a slot."""
        return len(self._waiting)

    def add(self, sequence: Sequence) -> None:
        """Appends a sequence."""
        self._waiting[sequence.arrival] = sequence

    def discard(self, sequence: Sequence) -> bool:
        """Removes a sequence that waits for a slot. Returns False if it does not wait."""
        return self._waiting.pop(sequence.arrival, None) is not None

    def schedule(self, ready: int, running: int, *, admitting: bool) -> PrefillStep | None:
        """Chooses the next prefill step. Returns None if a decode step is next, or if no sequence can be admitted.

        Args:
            ready: number of sequences that could decode now.
            running: number of sequences that decode or are being prefilled. A sequence is admitted only if one page
                stays free for each of these, and one for each sequence whose prompt this step completes. Otherwise a
                new sequence could be swapped out at once.
            admitting: whether waiting sequences may be admitted.
        """
        oldest = self.prefilling or next(self._candidates(1, admitting), None)
        if oldest is None:
            return None
        # Sequences that arrived together start together, before the first of them decodes much further.
        ready = min(ready, max(oldest.running_before, 1))
        startable = (self.prefilling is not None) + (min(len(self), len(self._free_slots)) if admitting else 0)
        if self.policy.allowance(ready, startable) <= 0 or not (self.prefilling or self._admit(oldest, running)):
            return None
        self.prefilling = oldest
        size = self.policy.next_size(self._demand(admitting), ready, startable)
        step = PrefillStep(size, most_slices(size))
        self._fill(step, running, admitting)
        self.policy.prefilled(size - step.room)
        return step

    def _candidates(self, limit: int, admitting: bool) -> Iterator[Sequence]:
        """Returns the first waiting sequences: at most `limit`, and at most one for each free slot.

        Returns none if `admitting` is False.
        """
        return islice(self._waiting.values(), min(limit, len(self._free_slots)) if admitting else 0)

    def _demand(self, admitting: bool) -> int:
        """Returns the number of tokens that the next step could compute, at most the size of the largest step."""
        assert self.prefilling
        before, tokens = self.prefilling, self.prefilling.unfilled
        for sequence in self._candidates(most_slices(self._largest) - 1, admitting):
            if tokens >= self._largest:
                break
            same = before.request_id == sequence.request_id
            tokens += self._kv_cache.missing_after(sequence) if same else self._kv_cache.missing(sequence)
            before = sequence
        return min(tokens, self._largest)

    def _fill(self, step: PrefillStep, running: int, admitting: bool) -> None:
        """Fills a step, as the class describes."""
        while self.prefilling and not step.full and self.prefilling.unfilled <= step.room:
            self._add(step, self.prefilling, self.prefilling.unfilled)
            following = None if step.full else next(self._candidates(1, admitting), None)
            admitted = following and self._admit(following, running + len(step.completed))
            self.prefilling = following if admitted else None
        if self.prefilling and not step.full:
            self._divide(step, self.prefilling, running, admitting)

    def _divide(self, step: PrefillStep, oldest: Sequence, running: int, admitting: bool) -> None:
        """Fills a step that cannot complete the oldest prompt.

        Up to half of the step's room goes to later prompts that fit there whole. The oldest prompt gets the other
        tokens.
        """
        page = self._kv_cache.page_size
        budget, later = step.room - cdiv(cdiv(step.room, 2), page) * page, []
        for sequence in self._candidates(step.places - 1, admitting):
            if (tokens := self._kv_cache.missing(sequence)) <= budget:
                later.append(sequence)
                budget -= tokens
        room = step.room - sum(map(self._kv_cache.missing, later))
        if whole_pages := room // page * page:  # first, so that its chunks are cached under its own pages
            self._add(step, oldest, whole_pages)
        for sequence in later:
            spare = running + len(step.completed) + 1
            if self._kv_cache.missing(sequence) > step.room or not self._admit(sequence, spare):
                break
            self._add(step, sequence, sequence.unfilled)

    def _add(self, step: PrefillStep, sequence: Sequence, count: int) -> None:
        """Adds the next `count` tokens of a prompt to a step."""
        step.add(self._slice(sequence, count), sequence)

    def _admit(self, sequence: Sequence, spare: int) -> bool:
        """Gives a waiting sequence a slot and pages.

        Returns False and changes nothing if fewer than `spare` pages would remain available.
        """
        if not self._kv_cache.allocate(sequence, len(sequence.prompt), spare):
            return False
        self.discard(sequence)
        sequence.prefilled = sequence.cached_tokens = len(sequence.pages) * self._kv_cache.page_size
        sequence.admitted = time.monotonic()
        self.looked_up += len(sequence.prompt)
        self.cached += sequence.cached_tokens
        sequence.slot = self._free_slots.pop()
        sequence.constraint = sequence.request.grammar.start() if sequence.request.grammar else None
        return True

    def _slice(self, sequence: Sequence, count: int) -> PrefillSlice:
        """Returns the next `count` tokens of a prompt as a slice. Caches the chunks that this slice completes."""
        start = sequence.prefilled
        tokens = sequence.prompt[start : start + count]
        sequence.prefilled = start + len(tokens)
        self._kv_cache.extend(sequence, sequence.prefilled)
        last = sequence.prefilled == len(sequence.prompt)
        self._kv_cache.cache_chunks(sequence)
        part = PrefillSlice(
            slot=sequence.slot,
            tokens=tokens,
            start=start,
            last=last,
            pages=np.array(sequence.pages, np.int32),
            choice=sequence.choice,
            sampling=sequence.request.sampling,
            token_mask=sequence.next_mask(self._words) if last else None,
            prompt=sequence.prompt if last and sequence.request.sampling.repetition_penalty != 1 else None,
        )
        sequence.dispatched = int(last)
        return part
