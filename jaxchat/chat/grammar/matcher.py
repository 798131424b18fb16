"""Compiled grammars, and the position of one choice in a grammar.

V is the number of logits.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass

import numpy as np
from llguidance import LLMatcher, LLTokenizer

from jaxchat.arithmetic import cdiv, token_bits

RECOMPILE_AFTER = 10_000  # tokens, half of what the lexer certainly takes
_FORCED_BYTES = 128  # more than the drafts of a step need


@dataclass
class _Use:
    """The number of tokens that all choices of a grammar have passed to its lexer, and whether the lexer failed.

    All choices share the lexer. The number of its states grows with use.
    """

    tokens: int = 0
    failed: bool = False

    @property
    def exhausted(self) -> bool:
        """Whether the lexer is near its limit of states."""
        return self.failed or self.tokens > RECOMPILE_AFTER


class Grammar:
    """A compiled grammar, shared by all choices that follow it."""

    def __init__(
        self, matcher: LLMatcher, tokenizer: LLTokenizer, tokens: int, ends: Sequence[int], vocab: int
    ) -> None:
        """Wraps a matcher.

        Args:
            matcher: a matcher at the beginning of the grammar.
            tokenizer: the tokenizer of `matcher`.
            tokens: number of token ids that the matcher knows.
            ends: ids of the stop tokens.
            vocab: V, the number of logits.
        """
        self._matcher = matcher
        self._tokenizer = tokenizer
        self._tokens = tokens
        self._ends = token_bits(ends, vocab)
        self._stops = frozenset(ends)
        self._use = _Use()

    @property
    def needs_recompile(self) -> bool:
        """Whether later requests need a recompiled grammar, because the lexer is near its limit of states."""
        return self._use.exhausted

    def start(self) -> TokenConstraint:
        """Returns a constraint at the beginning of the grammar. Takes a few microseconds."""
        matcher = self._matcher.deep_copy()
        return TokenConstraint(matcher, self._tokenizer, self._tokens, self._ends, self._stops, self._use)


class TokenConstraint:
    """A `jaxchat.types.Constraint` for one choice. Not thread-safe."""

    def __init__(
        self,
        matcher: LLMatcher,
        tokenizer: LLTokenizer,
        tokens: int,
        ends: np.ndarray,
        stops: frozenset[int],
        use: _Use,
    ) -> None:
        """Starts at the position of `matcher`.

        Args:
            matcher: a matcher that only this choice uses.
            tokenizer: the tokenizer of `matcher`.
            tokens: number of token ids that the matcher knows.
            ends: the token mask of the stop tokens, u32 `[ceil(V / 32)]`.
            stops: ids of the stop tokens.
            use: counts the use of the grammar's lexer. This choice updates it.
        """
        self._matcher = matcher
        self._tokenizer = tokenizer
        self._words = cdiv(tokens, 32)
        self._ends = ends
        self._stops = stops
        self._use = use
        self._ended = False

    def fill(self, row: np.ndarray) -> None:
        """Writes the token mask of the next step. At least one token is allowed.

        Args:
            row: receives the bits, contiguous u32 `[ceil(V / 32)]`.

        Raises:
            RuntimeError: the grammar became too complex to follow, or has no next token.
            ValueError: `row` has another shape or dtype, or is not contiguous.
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
        """Advances by the sampled token. Raises ValueError if the token was not allowed."""
        if self._ended or not self._takes(token):
            raise ValueError(f"token {token} is not allowed by the grammar here")
        self._ended = self.is_end(token)
        self._use.tokens += 1

    def forced(self) -> list[int]:
        """Returns the probable next tokens; [] if the grammar allows several next texts.

        If the grammar allows only one next text, such as the name of a field, returns the first tokens of this text.
        Omits the last token of the text, because the model may prefer a longer token in its place.
        """
        text = b"" if self._ended else self._matcher.compute_ff_bytes()
        return list(self._tokenizer.tokenize_bytes(text[:_FORCED_BYTES])[:-1]) if text else []

    def copy(self) -> TokenConstraint | None:
        """Returns a copy of the constraint in the same state, in up to 30 microseconds.

        Returns None if the lexer is near its limit of states. The copy shares the lexer, and must not use up the states
        that the answer itself needs.
        """
        if self._use.exhausted:
            return None
        other = copy(self)
        other._matcher = self._matcher.deep_copy()
        return other

    def is_end(self, token: int) -> bool:
        """Returns whether a token ends the answer: whether it is one of the model's stop tokens."""
        return token in self._stops

    def _takes(self, token: int) -> bool:
        if self.is_end(token):
            return bool(self._matcher.is_accepting())
        return 0 <= token < self._words * 32 and bool(self._matcher.consume_token(token))

    def _check(self) -> None:
        if self._matcher.is_error():
            self._use.failed = True
            raise RuntimeError(f"the grammar cannot be followed: {self._matcher.get_error()[:200]}")
