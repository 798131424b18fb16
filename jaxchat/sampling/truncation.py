"""Truncation of each row's distribution: `top_k`, then `top_p`, then `min_p`, as in `generate` of transformers.

Letters: S rows, V tokens in the vocabulary.
"""

from __future__ import annotations

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jax import Array

from jaxchat.sampling.top_p import top_p_mask
from jaxchat.sampling.topk import kth_largest


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Truncation:
    """The limits of the tokens that each of S rows may sample. The likeliest token always remains.

    `top_k` keeps the `top_k` likeliest tokens, ties by lower id. `top_p` keeps the nucleus of these, by their
    renormalised probabilities. `min_p` keeps tokens with at least this fraction of the likeliest token's probability.
    """

    top_k: Array  # i32 [S]; V: all tokens
    top_p: Array  # f32 [S]; 1: all tokens
    min_p: Array  # f32 [S]; 0: all tokens

    def only(self, rows: Array, vocab: int) -> Truncation:
        """Returns the same limits for the rows that `rows`, bool `[S]`, marks, and no limits for other rows."""
        return Truncation(
            top_k=jnp.where(rows, self.top_k, vocab),
            top_p=jnp.where(rows, self.top_p, 1.0),
            min_p=jnp.where(rows, self.min_p, 0.0),
        )

    def has_top_k(self, vocab: int) -> Array:
        """Returns which rows `top_k` limits, bool `[S]`."""
        return self.top_k < vocab

    def applies(self, vocab: int) -> Array:
        """Returns which rows have at least one of the three limits, bool `[S]`."""
        return self.has_top_k(vocab) | (self.top_p < 1.0) | (self.min_p > 0.0)

    def apply(self, z: Array) -> Array:
        """Returns the logits with -inf for tokens outside the limits.

        Args:
            z: f32 `[S, V]`, logits after temperature.
        """
        vocab = z.shape[-1]
        everything = jnp.full((len(z), 1), -jnp.inf), jnp.full((len(z), 1), vocab, jnp.int32)
        least, last = jax.lax.cond(
            jnp.any(self.has_top_k(vocab)), lambda: kth_largest(z, self.top_k), lambda: everything
        )
        ranked = (z > least) | ((z == least) & (jnp.arange(vocab) <= last))
        likely = jnp.exp(z - jnp.max(z, axis=-1, keepdims=True)) >= self.min_p[:, None]
        nucleus = top_p_mask(jnp.where(ranked, z, -jnp.inf), self.top_p)
        return jnp.where(ranked & nucleus & likely, z, -jnp.inf)
