"""Decides each step: who gets a slot, whose prompt is next, who decodes. First come, first served.

A sequence is admitted when a slot is free and the pages for its longest possible answer can be promised, so a running
sequence never waits for memory. Prompts are prefilled one at a time, chunk by chunk, in turn with decode steps.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from jaxchat.engine.pages import PagePool
from jaxchat.engine.sequence import Sequence
from jaxchat.types import Constraint, DecodeWork, Finish, PrefillWork, StepResult, TokenEvent, TopLogprobs

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Step:
    """What to run, and which sequence each row of its result belongs to."""

    work: PrefillWork | DecodeWork
    rows: tuple[tuple[int, Sequence], ...]

    @property
    def awaited(self) -> bool:
        """A constraint needs its result before the next step can be planned."""
        return self.work.legal is not None


class Scheduler:
    """Queue, slots and pages. Steps must be collected in the order in which they were planned."""

    def __init__(self, *, slots: int, chunk: int, page_size: int, pages: int, vocab: int = 0) -> None:
        """Args: `vocab` is the V of the logits; without it no request may have a grammar."""
        self._words = -(-vocab // 32)
        self.slots, self.chunk, self.page_size = slots, chunk, page_size
        self.pool = PagePool(pages)
        self.waiting: deque[Sequence] = deque()
        self.prefilling: Sequence | None = None
        self.decoding: dict[int, Sequence] = {}  # by slot
        self.free_slots = list(range(slots - 1, -1, -1))
        self._prefilled_last = False

    @property
    def running(self) -> int:
        """Sequences that hold a slot."""
        return self.slots - len(self.free_slots)

    def add(self, sequence: Sequence) -> None:
        """Queues a sequence."""
        self.waiting.append(sequence)

    def cancel(self, request_id: int, choice: int | None = None) -> int:
        """Drops the sequences of a request, or one choice of it; returns how many. What they held is free at once."""

        def meant(sequence: Sequence) -> bool:
            return sequence.request_id == request_id and choice in (None, sequence.choice)

        queued = len(self.waiting)
        self.waiting = deque(sequence for sequence in self.waiting if not meant(sequence))
        held = [sequence for sequence in self._holders() if meant(sequence)]
        for sequence in held:
            self._release(sequence)
        return queued - len(self.waiting) + len(held)

    def plan(self) -> Step | None:
        """The next step, or None when there is nothing to do. Prefill and decode take turns."""
        self._admit()
        decodable = [s for s in self.decoding.values() if s.ready]
        if self.prefilling and not (decodable and self._prefilled_last):
            self._prefilled_last = True
            return self._plan_prefill(self.prefilling)
        self._prefilled_last = False
        return self._plan_decode(decodable) if decodable else None

    def collect(self, step: Step, result: StepResult) -> list[TokenEvent]:
        """Takes in the result of a step; finished sequences give back what they hold."""
        if isinstance(step.work, PrefillWork) and not step.work.last:
            return []
        # A sequence that ended while this step was in flight has a surplus token here, which nobody sees.
        return [self._accept(s, row, result) for row, s in step.rows if not s.finished]

    def _admit(self) -> None:
        if self.prefilling or not self.waiting or not self.free_slots:
            return
        sequence = self.waiting[0]
        hits = self.pool.find(self._prompt_chunks(sequence))
        shared = [page for prefix in hits for page in prefix.pages]
        needed = sequence.pages_needed(self.page_size) - len(shared)
        if not self.pool.promise(needed):
            self.pool.leave(hits)
            return
        self.waiting.popleft()
        sequence.prefixes, sequence.pages, sequence.promised = hits, shared, needed
        sequence.prefilled = len(hits) * self.chunk
        sequence.slot = self.free_slots.pop()
        sequence.constraint = sequence.request.grammar.start() if sequence.request.grammar else None
        self.prefilling = sequence

    def _plan_prefill(self, sequence: Sequence) -> Step:
        start = sequence.prefilled
        tokens = sequence.prompt[start : start + self.chunk]
        end = start + len(tokens)
        while len(sequence.pages) * self.page_size < end:
            self._add_page(sequence)
        last = end == len(sequence.prompt)
        work = PrefillWork(
            slot=sequence.slot,
            tokens=tokens,
            start=start,
            last=last,
            pages=np.array(sequence.pages, np.int32),
            choice=sequence.choice,
            sampling=sequence.request.sampling,
            legal=self._legal([(0, sequence)], 1) if last else None,
        )
        sequence.prefilled = end
        self._share(sequence, tokens)
        if last:
            sequence.dispatched = 1
            self.decoding[sequence.slot] = sequence
            self.prefilling = None
        return Step(work, ((0, sequence),))

    def _plan_decode(self, sequences: list[Sequence]) -> Step:
        active = np.zeros(self.slots, bool)
        new_pages = np.full(self.slots, -1, np.int32)
        for sequence in sequences:
            active[sequence.slot] = True
            if sequence.position == len(sequence.pages) * self.page_size:
                new_pages[sequence.slot] = self._add_page(sequence)
            sequence.dispatched += 1
        rows = tuple((s.slot, s) for s in sequences)
        constrained = np.zeros(self.slots, bool)
        constrained[[s.slot for s in sequences if s.constraint]] = True
        return Step(DecodeWork(active, new_pages, constrained, self._legal(rows, self.slots)), rows)

    def _legal(self, rows: Iterable[tuple[int, Sequence]], count: int) -> np.ndarray | None:
        """The bits of the tokens that each constrained row may sample, u32 `[count, V / 32]`; None without any."""
        found = [(row, s) for row, s in rows if s.constraint]
        if not found:
            return None
        bits = np.zeros((count, self._words), np.uint32)
        for row, sequence in found:
            sequence.broken = not _fills(sequence.constraint, bits[row])
        return bits

    def _accept(self, sequence: Sequence, row: int, result: StepResult) -> TokenEvent:
        sequence.sampled += 1
        token, finish = int(result.tokens[row]), self._finish(sequence, row, result)
        if finish:
            self._release(sequence)
        if finish in ("numerical_error", "grammar_error"):
            return TokenEvent(sequence.request_id, sequence.choice, -1, finish)
        if not sequence.request.sampling.logprobs:
            return TokenEvent(sequence.request_id, sequence.choice, token, finish)
        top = TopLogprobs(result.top_ids[row], result.top_logprobs[row])
        return TokenEvent(sequence.request_id, sequence.choice, token, finish, float(result.logprobs[row]), top)

    def _finish(self, sequence: Sequence, row: int, result: StepResult) -> Finish | None:
        if not result.finite[row]:
            return "numerical_error"
        if sequence.broken:
            return "grammar_error"
        token = int(result.tokens[row])
        if token in sequence.request.stop_tokens:
            return "stop"
        if sequence.constraint and not _accepts(sequence.constraint, token):
            return "grammar_error"
        return "length" if sequence.sampled >= sequence.request.max_tokens else None

    def _share(self, sequence: Sequence, tokens: np.ndarray) -> None:
        """Offers a whole chunk of the prompt to later prompts; its pages then belong to the cache."""
        index = sequence.prefilled // self.chunk - 1
        if len(tokens) < self.chunk or index != len(sequence.prefixes):
            return
        per_chunk = self.chunk // self.page_size
        pages = tuple(sequence.pages[index * per_chunk : (index + 1) * per_chunk])
        parent = sequence.prefixes[-1] if sequence.prefixes else None
        prefix = self.pool.share(parent, tokens.tobytes(), pages)
        if prefix:
            sequence.prefixes.append(prefix)

    def _prompt_chunks(self, sequence: Sequence) -> list[bytes]:
        """Whole chunks of the prompt that may come from the cache; the last token must be computed for its logits."""
        whole = (len(sequence.prompt) - 1) // self.chunk
        return [sequence.prompt[i * self.chunk : (i + 1) * self.chunk].tobytes() for i in range(whole)]

    def _add_page(self, sequence: Sequence) -> int:
        page = self.pool.take()
        sequence.promised -= 1
        sequence.pages.append(page)
        return page

    def _release(self, sequence: Sequence) -> None:
        """Safe while steps are in flight: the device runs in order, so a new owner's step comes after them."""
        sequence.finished = True
        if self.prefilling is sequence:
            self.prefilling = None
        self.decoding.pop(sequence.slot, None)
        shared = len(sequence.prefixes) * (self.chunk // self.page_size)
        self.pool.free(sequence.pages[shared:])
        self.pool.leave(sequence.prefixes)
        self.pool.forget(sequence.promised)
        self.free_slots.append(sequence.slot)

    def _holders(self) -> list[Sequence]:
        return [*self.decoding.values(), *([self.prefilling] if self.prefilling else [])]


def _fills(constraint: Constraint | None, row: np.ndarray) -> bool:
    try:
        if constraint:
            constraint.fill(row)
    except Exception:  # of whatever kind, it must not reach other requests
        log.exception("a grammar has no next token")
        return False
    return True


def _accepts(constraint: Constraint, token: int) -> bool:
    try:
        constraint.accept(token)
    except ValueError:
        log.exception("a token was sampled that its grammar does not allow")
        return False
    return True
