"""Chooses each step: which sequence gets a slot, which prompt is prefilled, and which sequences decode.

The order is first come, first served. A sequence is admitted when a slot is free and the pool has pages for its prompt.
Prefill steps alternate with decode steps (`jaxchat.engine.prefill_policy`). A prefill step may compute several prompts
(`jaxchat.engine.prefill_queue`). When the pool is exhausted, the newest running sequence is swapped out to host memory.
It is swapped in, bit for bit, before another sequence is admitted. The oldest sequence therefore always proceeds, and
no sequence is lost.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from jaxchat.arithmetic import cdiv
from jaxchat.engine.decode_batch import DecodeBatch, accepted, rejected
from jaxchat.engine.kv_cache_manager import KVCacheManager
from jaxchat.engine.page_pool import PagePool
from jaxchat.engine.prefill_queue import PrefillQueue
from jaxchat.engine.sequence import Sequence, accepts_token
from jaxchat.engine.speculation import Speculation
from jaxchat.engine.step_times import StepTimes
from jaxchat.types import (
    DecodeWork,
    Finish,
    Outcome,
    PrefillWork,
    StepResult,
    SwapInWork,
    SwapOutWork,
    Swapped,
    TokenEvent,
    TopLogprobs,
    Work,
)


@dataclass(frozen=True)
class Step:
    """Work for the device, and the sequences that it is for. Row i of the result belongs to `rows[i]`.

    Further rows of the result are meaningless. If a step copies a sequence, `rows` is that sequence, and the result has
    no rows.
    """

    work: Work
    rows: tuple[Sequence, ...]

    @property
    def tokens(self) -> int:
        """The number of prompt tokens or of rows that the step computes; 0 if it copies a sequence."""
        if isinstance(self.work, PrefillWork):
            return self.work.tokens
        return len(self.rows) if isinstance(self.work, DecodeWork) else 0

    @property
    def awaited(self) -> bool:
        """Whether the next step depends on this step's result, because this step has a constraint or drafts."""
        match self.work:
            case PrefillWork():
                masked = any(part.token_mask is not None for part in self.work.slices)
            case DecodeWork():
                if self.work.drafts is not None:
                    return True
                masked = self.work.token_mask is not None
            case _:
                masked = False
        return masked and any(sequence.constraint for sequence in self.rows)


class Scheduler:
    """A scheduler of sequences over slots and pages. Results must be processed in the order of their steps."""

    def __init__(
        self,
        *,
        slots: int,
        prefill_buckets: tuple[int, ...],
        decode_buckets: tuple[int, ...] = (),
        page_size: int,
        pages: int,
        vocab: int = 0,
        max_drafts: int = 0,
    ) -> None:
        """Starts with an empty queue.

        Args:
            slots: number of sequences that can run together.
            prefill_buckets: sizes of the prefill steps in tokens, in ascending order, each a multiple of the first.
                The first is the chunk size of the prefix cache.
            decode_buckets: row counts of the decode programs, in ascending order; empty: one program of `slots` rows.
            page_size: tokens of a KV page.
            pages: number of KV pages, including the null page.
            vocab: size V of the logits; 0 if no request has a grammar or `min_tokens`.
            max_drafts: maximum number of draft tokens of a sequence in one step, 0 to 15.
        """
        self._words = cdiv(vocab, 32)
        self.slots = slots
        self.pool = PagePool(pages)
        self.preemptions = 0
        self._kv_cache = KVCacheManager(self.pool, chunk=prefill_buckets[0], page_size=page_size)
        self._requests: dict[int, list[Sequence]] = {}  # unfinished sequences, by request id
        self._swapped: list[Sequence] = []  # oldest first
        self._decoding: dict[int, Sequence] = {}  # by slot
        self._free_slots = list(range(slots - 1, -1, -1))
        self._prefill_queue = PrefillQueue(
            self._kv_cache, self._free_slots, prefill_buckets=prefill_buckets, mask_words=self._words
        )
        self.speculation = Speculation(StepTimes(decode_buckets or (slots,)), max_drafts)

    @property
    def running(self) -> int:
        """The number of sequences that have a slot."""
        return self.slots - len(self._free_slots)

    @property
    def waiting(self) -> int:
        """The number of sequences without a slot."""
        return len(self._prefill_queue) + len(self._swapped)

    @property
    def prefix_lookups(self) -> tuple[int, int]:
        """How many prompt tokens were looked up in the prefix cache, and how many of these were found."""
        return self._prefill_queue.looked_up, self._prefill_queue.cached

    def add(self, sequence: Sequence) -> None:
        """Queues a sequence."""
        sequence.running_before = len(self._decoding)
        self._prefill_queue.add(sequence)
        self._requests.setdefault(sequence.request_id, []).append(sequence)

    def cancel(self, request_id: int, choice: int | None = None) -> int:
        """Drops all choices of a request, or only `choice`, and frees their slots and pages at once.

        Returns:
            The number of sequences that were dropped.
        """
        cancelled = [s for s in self._requests.get(request_id, ()) if choice in (None, s.choice)]
        for sequence in cancelled:
            self._end(sequence)
        return len(cancelled)

    def schedule(self) -> Step | None:
        """Chooses the next step and returns it. Returns None if no sequence can proceed now."""
        if self._swapped and self._readmit(self._swapped[0]):
            return self._swap_in(self._swapped.pop(0))
        ready = [s for s in self._decoding.values() if s.ready]
        out_of_pages = not self._reserve_pages(ready)
        if out_of_pages and len(self._decoding) > 1:
            return self._swap_out(max(self._decoding.values(), key=lambda s: s.arrival))
        prefill = self._prefill_queue.schedule(
            0 if out_of_pages else len(ready), self._headroom(), admitting=not self._swapped
        )
        if prefill:
            self._decoding |= {sequence.slot: sequence for sequence in prefill.completed}
            return Step(prefill.work, tuple(prefill.completed))
        return self._decode(ready) if ready else None

    def took(self, step: Step, seconds: float) -> None:
        """Records how many seconds a step took. Only decode steps count."""
        if isinstance(step.work, DecodeWork):
            self.speculation.times.took(len(step.rows), step.awaited, seconds)

    def process_output(self, step: Step, outcome: Outcome) -> list[TokenEvent]:
        """Applies the result of a step and frees the slots and pages of finished sequences.

        Returns:
            The events of the tokens that were sampled.
        """
        if isinstance(outcome, Swapped):
            step.rows[0].swapped = outcome
        if not isinstance(outcome, StepResult):
            return []
        wrong, drafted = set[int](), set[int]()
        if isinstance(step.work, DecodeWork) and step.work.drafts is not None:
            wrong = rejected(step.work.drafts, outcome.tokens)
            self.speculation.count(step.work.drafts, len(wrong))
            for row in wrong:
                step.rows[row].dispatched -= 1
            drafted = accepted(step.work.drafts, wrong)
        # A sequence that ended while this step was in flight has a surplus token here, which is discarded.
        tokens, finite = outcome.tokens.tolist(), outcome.finite.tolist()
        return [
            self._accept(s, tokens[row] if finite[row] else None, row, outcome, row in drafted)
            for row, s in enumerate(step.rows)
            if row not in wrong and not s.finished
        ]

    def _headroom(self) -> int:
        """Returns how many pages must stay free when a sequence is admitted: one for each running sequence."""
        return len(self._decoding) + (self._prefill_queue.prefilling is not None)

    def _reserve_pages(self, ready: list[Sequence]) -> bool:
        """Reserves a page for each sequence whose next token needs one.

        Returns:
            Whether there were enough pages. If not, nothing changes.
        """
        full = [s for s in ready if not s.reserved_pages and self._kv_cache.needs_page(s)]
        if not self.pool.reserve(len(full)):
            return False
        for sequence in full:
            sequence.reserved_pages += 1
        return True

    def _decode(self, sequences: list[Sequence]) -> Step:
        self._prefill_queue.policy.decoded()
        drafts = self.speculation.drafts(sequences, awaited=any(s.constraint for s in sequences))
        batch = DecodeBatch(self._kv_cache, self._words)
        for sequence, guessed in zip(sequences, drafts, strict=True):
            batch.add(sequence, guessed)
        return Step(batch.work(), tuple(batch.sequences))

    def _swap_out(self, sequence: Sequence) -> Step:
        """Copies a sequence to the host and frees its slot and pages at once.

        The device runs steps in order, so the next owners of the pages write after the copy.
        """
        self.preemptions += 1
        used = cdiv(sequence.length, self._kv_cache.page_size)
        work = SwapOutWork(sequence.slot, np.array(sequence.pages[:used], np.int32))
        self._vacate(sequence)
        self._swapped.append(sequence)
        self._swapped.sort(key=lambda s: s.arrival)
        return Step(work, (sequence,))

    def _readmit(self, sequence: Sequence) -> bool:
        """Allocates a swapped sequence's pages. Returns False if a slot, pages or its complete copy are missing."""
        if not (self._free_slots and sequence.swapped):
            return False
        return self._kv_cache.allocate(sequence, sequence.length, self._headroom())

    def _swap_in(self, sequence: Sequence) -> Step:
        assert sequence.swapped
        shared_pages = self._kv_cache.shared_pages(sequence)
        self._kv_cache.extend(sequence, sequence.length)
        sequence.slot = self._free_slots.pop()
        self._decoding[sequence.slot] = sequence
        work = SwapInWork(sequence.slot, np.array(sequence.pages, np.int32), shared_pages, sequence.swapped)
        sequence.swapped = None
        return Step(work, (sequence,))

    def _accept(self, sequence: Sequence, token: int | None, row: int, result: StepResult, drafted: bool) -> TokenEvent:
        """Gives a sequence its sampled token, or None if the logits were not finite. Returns the token's event."""
        sequence.sampled += 1
        finish = _finish(sequence, token)
        if finish:
            self._end(sequence)
        place = sequence.request_id, sequence.choice
        if token is None or finish == "grammar_error":
            return TokenEvent(*place, -1, finish)
        sequence.tokens.append(token)
        logprob, top = 0.0, None
        if sequence.request.sampling.logprobs:
            logprob, top = float(result.logprobs[row]), TopLogprobs(result.top_ids[row], result.top_logprobs[row])
        return TokenEvent(*place, token, finish, logprob, top, sequence.cached_tokens, sequence.admitted, drafted)

    def _end(self, sequence: Sequence) -> None:
        """Removes a finished sequence. Other sequences may get its slot and its pages at once.

        This is safe while steps are in flight, because the device runs all steps in order.
        """
        sequence.finished = True
        self._forget(sequence)
        if self._prefill_queue.discard(sequence):
            return
        if sequence in self._swapped:
            self._swapped.remove(sequence)
        else:
            self._vacate(sequence)

    def _forget(self, sequence: Sequence) -> None:
        others = self._requests[sequence.request_id]
        others.remove(sequence)
        if not others:
            del self._requests[sequence.request_id]

    def _vacate(self, sequence: Sequence) -> None:
        """Frees the slot and the pages of a sequence."""
        if self._prefill_queue.prefilling is sequence:
            self._prefill_queue.prefilling = None
        self._decoding.pop(sequence.slot, None)
        self._kv_cache.free(sequence)
        self._free_slots.append(sequence.slot)


def _finish(sequence: Sequence, token: int | None) -> Finish | None:
    """Advances the grammar of a sequence by its newest token. Returns why the answer ends, or None if it goes on."""
    if token is None:
        return "numerical_error"
    if sequence.constraint_failed:
        return "grammar_error"
    request = sequence.request
    if token in request.stop_tokens and sequence.ends_with(token):
        return "stop"
    if sequence.constraint is not None and not accepts_token(sequence.constraint, token):
        return "grammar_error"
    return "length" if sequence.sampled >= request.max_tokens else None
