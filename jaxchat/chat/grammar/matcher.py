"""One choice's place in a grammar."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from llguidance import LLMatcher

WORN_TOKENS = 20_000


@dataclass
class _Use:
    """What choices have done to the lexer that they share, whose states only grow in number."""

    tokens: int = 0
    failed: bool = False


class Grammar:
    """A compiled grammar, shared by all choices that follow it."""

    def __init__(self, matcher: LLMatcher, tokens: int, ends: Sequence[int], vocab: int) -> None:
        """`matcher` has taken in nothing; `tokens` of the `vocab` logits are known to it, `ends` end an answer."""
        self._matcher = matcher
        self._tokens = tokens
        self._ends = _bits(ends, vocab)
        self._stops = frozenset(ends)
        self._use = _Use()

    @property
    def needs_recompile(self) -> bool:
        """It should be compiled anew for later requests, before its lexer has more states than it may."""
        return self._use.failed or self._use.tokens > WORN_TOKENS

    def start(self) -> TokenConstraint:
        """A constraint at the beginning of the grammar; takes some microseconds."""
        return TokenConstraint(self._matcher.deep_copy(), self._tokens, self._ends, self._stops, self._use)


class TokenConstraint:
    """Implements `jaxchat.types.Constraint`. Not thread-safe; each choice has its own."""

    def __init__(self, matcher: LLMatcher, tokens: int, ends: np.ndarray, stops: frozenset[int], use: _Use) -> None:
        """`ends` u32 `[ceil(V / 32)]` is the mask of the stop tokens."""
        self._matcher = matcher
        self._words = (tokens + 31) // 32
        self._ends = ends
        self._stops = stops
        self._use = use
        self._ended = False

    def fill(self, row: np.ndarray) -> None:
        """Writes the allowed tokens as bits: u32 `[ceil(V / 32)]`, contiguous; never all zero.

        Raises RuntimeError when the grammar became too complex to follow, or no token continues it.
        """
        if row.shape != self._ends.shape or row.dtype != np.uint32 or not row.flags.c_contiguous:
            raise ValueError(f"expected a contiguous u32 row of {self._ends.shape[0]} words")
        if self._ended or self._matcher.is_stopped():
            self._check()
            row[:] = self._ends
            return
        row[self._words :] = 0
        self._matcher.unsafe_compute_mask_ptr(row.ctypes.data, self._words * 4)
        self._check()
        if not row.any():
            raise RuntimeError("no token continues the grammar")

    def accept(self, token: int) -> None:
        """Takes in the sampled token, which must have been allowed. Raises ValueError when it was not."""
        if self._ended or not self._takes(token):
            raise ValueError(f"token {token} is not allowed by the grammar here")
        self._ended = token in self._stops
        self._use.tokens += 1

    def _takes(self, token: int) -> bool:
        if token in self._stops:
            return bool(self._matcher.is_accepting())
        return 0 <= token < self._words * 32 and bool(self._matcher.consume_token(token))

    def _check(self) -> None:
        if self._matcher.is_error():
            self._use.failed = True
            raise RuntimeError(f"the grammar cannot be followed: {self._matcher.get_error()[:200]}")


def _bits(tokens: Sequence[int], vocab: int) -> np.ndarray:
    row = np.zeros((vocab + 31) // 32, np.uint32)
    for token in tokens:
        row[token // 32] |= np.uint32(1) << np.uint32(token % 32)
    return row
