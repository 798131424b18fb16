"""Builds decode steps: the rows of sequences and of their drafts, with pages and token masks."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from jaxchat.engine.kv_cache_manager import KVCacheManager
from jaxchat.engine.sequence import Sequence
from jaxchat.types import DecodeWork

_NO_DRAFT = -1


class DecodeBatch:
    """The rows of one decode step. Adding a row adds 1 to the count `dispatched` of its sequence."""

    def __init__(self, kv_cache: KVCacheManager, words: int) -> None:
        """Starts without rows.

        Args:
            kv_cache: gives sequences the pages that they need.
            words: length of a token mask, ceil(V / 32).
        """
        self._kv_cache = kv_cache
        self._words = words
        self.sequences: list[Sequence] = []  # of each row
        self._new_pages: list[int] = []
        self._drafts: list[int] = []
        self._masks: dict[int, np.ndarray] = {}  # by row

    def add(self, sequence: Sequence, drafts: list[int]) -> None:
        """Adds a row for the next token of a sequence, and a further row for each of its drafts.

        The sequence must already have a page for the next token.

        A draft gets no row in three cases: the grammar forbids the draft, the grammar has no next token after the
        draft, or the pool has no page for the row. All later drafts of the sequence then get no rows either. No draft
        gets a row if the grammar's constraint cannot be copied.

        Args:
            sequence: the sequence.
            drafts: guesses of its next tokens, in order, without stop tokens.
        """
        mask = sequence.next_mask(self._words)
        if mask is None:
            self._add_free(sequence, drafts)
            return
        self._add_row(sequence, _NO_DRAFT, mask)
        if not sequence.constraint_failed:
            self._add_masked_drafts(sequence, drafts, mask)

    def _add_free(self, sequence: Sequence, drafts: list[int]) -> None:
        rows = [_NO_DRAFT, *drafts]
        if self._kv_cache.room(sequence) >= len(rows):  # the usual case, all rows at once to save time
            self._new_pages += [-1] * len(rows)
            self.sequences += [sequence] * len(rows)
            self._drafts += rows
            sequence.dispatched += len(rows)
            return
        self._add_row(sequence, _NO_DRAFT, None)
        for draft in drafts:
            if not self._kv_cache.reserve_next(sequence):
                return
            self._add_row(sequence, draft, None)

    def _add_masked_drafts(self, sequence: Sequence, drafts: list[int], mask: np.ndarray) -> None:
        ahead = sequence.constraint.copy() if drafts and sequence.constraint else None
        if sequence.constraint and not ahead:
            return
        for draft in drafts:
            if not (_allows(mask, draft) and self._kv_cache.reserve_next(sequence)):
                return
            try:
                if ahead:
                    ahead.accept(draft)
                mask = np.zeros(self._words, np.uint32)
                sequence.write_mask(mask, ahead)
            except Exception:  # the answer itself may never reach this draft
                return
            self._add_row(sequence, draft, mask if sequence.constrained else None)

    def work(self) -> DecodeWork:
        """Returns the step as arrays of R rows."""
        rows = len(self.sequences)
        constrained, token_mask = np.zeros(rows, bool), None
        if self._masks:
            token_mask = np.zeros((rows, self._words), np.uint32)
            for row, mask in self._masks.items():
                constrained[row], token_mask[row] = True, mask
        return DecodeWork(
            slots=np.array([sequence.slot for sequence in self.sequences], np.int32),
            new_pages=np.array(self._new_pages, np.int32),
            constrained=constrained,
            token_mask=token_mask,
            drafts=np.array(self._drafts, np.int32) if max(self._drafts) > _NO_DRAFT else None,
        )

    def _add_row(self, sequence: Sequence, draft: int, mask: np.ndarray | None) -> None:
        if mask is not None:
            self._masks[len(self.sequences)] = mask
        self._new_pages.append(self._kv_cache.extend_by_one(sequence))
        self.sequences.append(sequence)
        self._drafts.append(draft)
        sequence.dispatched += 1


def _allows(mask: np.ndarray, token: int) -> bool:
    return bool(mask[token // 32] >> np.uint32(token % 32) & 1)


def rejected(drafts: np.ndarray, tokens: np.ndarray) -> set[int]:
    """Returns the indices of the rows to discard.

    A row is discarded if its draft differs from the token that the row before it sampled. All later rows of the same
    sequence are discarded too.

    Args:
        drafts: the draft of each of R rows, i32 `[R]`; -1 in rows without a draft.
        tokens: the token that each row sampled, i32 `[R]`.
    """
    wrong: set[int] = set()
    with_draft = np.flatnonzero(drafts > _NO_DRAFT)
    differs = (drafts[with_draft] != tokens[with_draft - 1]).tolist()
    for row, other in zip(with_draft.tolist(), differs, strict=True):
        if other or row - 1 in wrong:
            wrong.add(row)
    return wrong


def accepted(drafts: np.ndarray, wrong: Collection[int]) -> set[int]:
    """Returns the indices of the rows that sampled a token which had been drafted.

    Each of them is the row directly before the row of an accepted draft.

    Args:
        drafts: as for `rejected`.
        wrong: the rows that `rejected` returned.
    """
    return {row - 1 for row in np.flatnonzero(drafts > _NO_DRAFT).tolist() if row not in wrong}
