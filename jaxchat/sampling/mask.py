"""The tokens that a grammar allows: one bit for each token of each row.

Letters: S rows, V tokens in the vocabulary.
"""

from __future__ import annotations

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jax import Array

from jaxchat.arithmetic import cdiv

WORD = 32


def mask_words(vocab: int) -> int:
    """Returns the number of u32 words that hold one bit for each of `vocab` tokens."""
    return cdiv(vocab, WORD)


def expand_bits(bits: Array, vocab: int) -> Array:
    """Unpacks u32 `[S, ceil(V / 32)]`, as `jaxchat.arithmetic.token_bits` packs each row, to bool `[S, V]`."""
    columns = (bits[:, :, None] >> jnp.arange(WORD, dtype=jnp.uint32)) & 1
    return columns.reshape(len(bits), -1)[:, :vocab] != 0


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class TokenMask:
    """The bits of allowed tokens: bit j % 32 of word j // 32 for token j.

    Rows that are not `constrained` ignore the bits.
    """

    constrained: Array  # bool [S]
    bits: Array  # u32 [S, ceil(V / 32)]

    def expand(self, vocab: int) -> Array:
        """Returns the mask as bool `[S, V]`, all true in rows that are not constrained."""
        return expand_bits(self.bits, vocab) | ~self.constrained[:, None]

    def keep(self, limited: Array, mu: Array) -> Array:
        """Returns `limited` with -inf where a token is not allowed.

        If no token would remain in a constrained row, the row takes the allowed part of `mu` instead, because a grammar
        overrides bans and exclusive tokens.

        Args:
            limited: f32 `[S, V]`, logits after bans and exclusive tokens.
            mu: f32 `[S, V]`, logits after bias and penalties alone.
        """
        allowed = self.expand(mu.shape[-1])
        masked = jnp.where(allowed, limited, -jnp.inf)
        empty = jnp.all(masked == -jnp.inf, axis=-1, keepdims=True) & self.constrained[:, None]
        return jnp.where(empty, jnp.where(allowed, mu, -jnp.inf), masked)
