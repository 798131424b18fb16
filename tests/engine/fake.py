"""A device without computation. It keeps pages like a real device, checks them, and returns predictable tokens."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field, replace

import numpy as np

from jaxchat.arithmetic import cdiv
from jaxchat.types import (
    DecodeWork,
    Outcome,
    PrefillSlice,
    PrefillWork,
    StepResult,
    SwapInWork,
    SwapOutWork,
    Swapped,
)

PAGE = 16


@dataclass
class Done:
    outcome: Outcome

    def wait(self) -> Outcome:
        return self.outcome


@dataclass(frozen=True)
class Row:
    """A slot.

    Attributes:
        token: its last token.
        position: number of tokens in its pages.
        mark: mark of the last of these tokens.
        table: its page table.
    """

    token: int = 0
    position: int = 0
    mark: int = 0
    table: list[int] = field(default_factory=list)


class FakeRunner:
    """A device on which the n-th token of a choice is `first + n`.

    `first` is the last prompt token plus 1000 times the choice. Each place in a page holds a mark of all tokens up to
    it, so a sequence that reads the place of another one is detected. Drafts are checked as a real device does.
    """

    def __init__(self, slots: int, pages: int = 100) -> None:
        self.rows = [Row() for _ in range(slots)]
        self.marks = np.zeros((pages, PAGE), np.int64)
        self.prefill_steps: list[PrefillWork] = []
        self.prefills: list[PrefillSlice] = []  # the slices of all steps
        self.decodes: list[DecodeWork] = []
        self.swaps: list[SwapOutWork | SwapInWork] = []
        self.fail_at: int | None = None
        self.ready = threading.Event()  # a step waits for it: clear it to hold the device
        self.ready.set()

    def prefill(self, work: PrefillWork) -> Done:
        assert work.slices
        self.prefill_steps.append(work)
        self.prefills += work.slices
        return Done(result(np.array([self._prefill(part) for part in work.slices], np.int32)))

    def _prefill(self, part: PrefillSlice) -> int:
        """Writes a part and returns the first token of the answer. Reads what earlier slices of the step wrote."""
        assert len(part.tokens) and part.start % PAGE == 0
        row = Row(position=part.start, table=part.pages.tolist())
        row = replace(row, mark=self._mark(row.table, part.start - 1))
        for token in part.tokens:
            row = self._write(row, int(token))
        first = int(part.tokens[-1]) + 1000 * part.choice
        if part.last:
            self.rows[part.slot] = replace(row, token=first)
        return first

    def decode(self, work: DecodeWork) -> Done:
        self.ready.wait()
        if self.fail_at == len(self.decodes):
            raise RuntimeError("device lost")
        self.decodes.append(work)
        drafts = np.full(len(work.slots), -1) if work.drafts is None else work.drafts
        rows: list[Row] = []
        right = True
        for slot, page, draft in zip(work.slots, work.new_pages, drafts, strict=True):
            row = self.rows[slot] if draft < 0 else replace(rows[-1], token=int(draft))
            right = draft < 0 or (right and draft == rows[-1].token)
            row = replace(row, table=row.table + [int(page)] * int(page >= 0))
            assert self._mark(row.table, row.position - 1) == row.mark, "a page holds another sequence's tokens"
            rows.append(replace(self._write(row, row.token), token=row.token + 1))
            self.rows[slot] = rows[-1] if right else replace(self.rows[slot], table=row.table)
        return Done(result(np.array([row.token for row in rows], np.int32)))

    def swap_out(self, work: SwapOutWork) -> Done:
        self.swaps.append(work)
        row = self.rows[work.slot]
        assert len(work.pages) == cdiv(row.position, PAGE)
        return Done(Swapped(row, (self.marks[work.pages],)))

    def swap_in(self, work: SwapInWork) -> Done:
        self.swaps.append(work)
        self.rows[work.slot] = replace(work.swapped.row, table=work.pages.tolist())
        self.marks[work.pages[work.shared_pages :]] = work.swapped.blocks[0][work.shared_pages :]
        return Done(None)

    def _mark(self, table: list[int], position: int) -> int:
        return int(self.marks[table[position // PAGE], position % PAGE]) if position >= 0 else 0

    def _write(self, row: Row, token: int) -> Row:
        mark = hash((row.mark, token))
        self.marks[row.table[row.position // PAGE], row.position % PAGE] = mark
        return replace(row, position=row.position + 1, mark=mark)


def result(tokens: np.ndarray) -> StepResult:
    rows = len(tokens)
    return StepResult(
        tokens=tokens,
        finite=np.ones(rows, bool),
        logprobs=np.zeros(rows, np.float32),
        top_ids=np.zeros((rows, 2), np.int32),
        top_logprobs=np.zeros((rows, 2), np.float32),
    )
