"""Draft tokens in a decode step: guesses of the next tokens of a sequence, each in a separate row.

A sequence's first row has its newest token at position p. Its next rows have the drafts d_1, d_2, ... at positions p +
1, p + 2, ... Row i samples what the sequence would sample if it had continued with d_1 .. d_i. A draft is right if the
row before it sampled the same token. A row is accepted if its own draft and all drafts before it are right. So the
accepted rows are exactly the steps that the sequence would have taken without drafts.
"""

from __future__ import annotations

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jax import Array

from jaxchat.config import MAX_DRAFTS


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Drafts:
    """The drafts in the R rows of a decode step. The rows of one sequence are adjacent, in order of position."""

    tokens: Array  # i32 [R], -1 in the first row of a sequence and in unused rows
    index: Array  # i32 [R], i for d_i; 0 where `tokens` is -1

    @staticmethod
    def of(tokens: Array) -> Drafts:
        """Returns the drafts of R rows. `tokens`, i32 `[R]`, becomes the field of that name."""
        rows = jnp.arange(len(tokens), dtype=jnp.int32)
        first = jax.lax.cummax(jnp.where(tokens < 0, rows, 0))
        return Drafts(tokens, rows - first)

    def accepted(self, sampled: Array) -> Array:
        """Returns which rows are accepted, bool `[R]`. The first row of a sequence is always accepted.

        Args:
            sampled: i32 `[R]`, the token that each row sampled.
        """
        wrong = jnp.cumsum((self.index > 0) & (self.tokens != jnp.roll(sampled, 1)))
        return wrong == wrong[jnp.arange(len(sampled)) - self.index]

    def last_accepted(self, accepted: Array) -> Array:
        """Returns which rows are the last accepted row of their sequence, bool `[R]`.

        Args:
            accepted: bool `[R]`, as `accepted` returns.
        """
        followed = jnp.roll(accepted & (self.index > 0), -1).at[-1].set(False)
        return accepted & ~followed

    def before(self, nothing: int) -> Array:
        """Returns the drafts that come before each row's sample, i32 `[R, D]`, where D is at most `MAX_DRAFTS`.

        Row i of a sequence has d_i, ..., d_2, d_1 in this order.

        Args:
            nothing: the value of the entries after a row's drafts.
        """
        depth = jnp.arange(min(len(self.tokens) - 1, MAX_DRAFTS))
        rows = jnp.arange(len(self.tokens))[:, None] - depth
        return jnp.where(depth < self.index[:, None], self.tokens[rows], nothing)
