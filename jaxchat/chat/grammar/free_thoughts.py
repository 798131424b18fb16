"""Grammars for answers that begin with thoughts. A grammar allows any thoughts, and binds the tokens after them.

V is the number of logits.
"""

from __future__ import annotations

import numpy as np

from jaxchat.arithmetic import token_bits
from jaxchat.chat.response.reasoning import ThoughtSplitter
from jaxchat.types import Constraint, Grammar


class FreeThoughts:
    """A grammar that lets a model think before the text that another grammar allows."""

    def __init__(self, grammar: Grammar, splitter: ThoughtSplitter, stop_tokens: frozenset[int]) -> None:
        """Combines a grammar with a splitter, which tells thoughts from the answer after them.

        Args:
            grammar: the grammar of the answer after its thoughts.
            splitter: the splitter. It has not read any token yet.
            stop_tokens: ids of the tokens that end an answer. Thoughts do not contain them.
        """
        self._grammar, self._splitter, self._stop_tokens = grammar, splitter, stop_tokens

    def start(self) -> ThoughtConstraint:
        """Returns the constraint of a new answer."""
        return ThoughtConstraint(self._grammar.start(), self._splitter, self._stop_tokens)


class ThoughtConstraint:
    """A `jaxchat.types.Constraint` for one choice. Not thread-safe."""

    def __init__(self, answer: Constraint, splitter: ThoughtSplitter, stop_tokens: frozenset[int]) -> None:
        self._answer, self._splitter, self._stop_tokens = answer, splitter, stop_tokens

    def fill(self, row: np.ndarray) -> None:
        """Writes the token mask of the next step into `row`, contiguous u32 `[ceil(V / 32)]`.

        Inside thoughts, every token is allowed except the stop tokens. Outside thoughts, the tokens that the answer's
        constraint allows are allowed, and also the splitter's `extra_tokens`.
        """
        if self._splitter.thinking:
            row[:] = ~token_bits([token for token in self._stop_tokens if token < 32 * len(row)], 32 * len(row))
            return
        self._answer.fill(row)
        for token in self._splitter.extra_tokens:
            row[token // 32] |= np.uint32(1 << token % 32)

    def accept(self, token: int) -> None:
        """Advances by the sampled token. Raises ValueError if the token was not allowed."""
        part, after = self._splitter.next(token)
        if part == "content":
            self._answer.accept(token)
        elif token in self._stop_tokens:
            raise ValueError(f"token {token} would end the answer within its thoughts")
        self._splitter = after

    def forced(self) -> list[int]:
        """Returns the tokens that the grammar expects next; none while the model may think."""
        return [] if self._splitter.thinking or self._splitter.extra_tokens else self._answer.forced()

    def copy(self) -> ThoughtConstraint | None:
        """Returns a copy in the same state; None if the constraint of the answer cannot be copied."""
        answer = self._answer.copy()
        return ThoughtConstraint(answer, self._splitter, self._stop_tokens) if answer else None

    def is_end(self, token: int) -> bool:
        """Returns whether a token ends the answer."""
        return self._answer.is_end(token)
