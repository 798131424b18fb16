"""Grammars of answers that follow thoughts. Thoughts are free, and the grammar binds the tokens after them."""

from __future__ import annotations

from collections import deque

import numpy as np

from jaxchat.arithmetic import token_bits
from jaxchat.chat.response.reasoning import ThoughtSplitter
from jaxchat.types import Constraint, Grammar

_KEPT = 64  # tokens that can be taken back; drafts are fewer


class FreeThoughts:
    """A grammar that lets a model think before the text that another grammar allows."""

    def __init__(self, grammar: Grammar, splitter: ThoughtSplitter, stop_tokens: frozenset[int]) -> None:
        """Combines a grammar and a way to tell thoughts apart.

        Args:
            grammar: the grammar of the answer after its thoughts.
            splitter: the state at the beginning of the answer.
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
        self._states: deque[tuple[ThoughtSplitter, bool]] = deque(maxlen=_KEPT)  # and whether the grammar advanced

    def fill(self, row: np.ndarray) -> None:
        """Writes the token mask of the next step into `row`, contiguous u32 `[ceil(V / 32)]`.

        Thoughts may have every token except for stop tokens.
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
        self._states.append((self._splitter, part == "content"))
        self._splitter = after

    def forced(self) -> list[int]:
        """Returns tokens that probably come next; none where the model may think."""
        return [] if self._splitter.thinking or self._splitter.extra_tokens else self._answer.forced()

    def rollback(self, tokens: int) -> None:
        """Takes back the last `tokens` accepted tokens, none of which `is_end`.

        Raises:
            RuntimeError: the grammar cannot be followed any more.
        """
        states = [self._states.pop() for _ in range(tokens)]
        if states:
            self._splitter = states[-1][0]
        if advanced := sum(in_grammar for _, in_grammar in states):
            self._answer.rollback(advanced)

    def is_end(self, token: int) -> bool:
        """Returns whether a token ends the answer."""
        return self._answer.is_end(token)
