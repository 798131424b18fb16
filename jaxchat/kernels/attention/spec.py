"""The properties of attention that differ between model families and between the layers of one model."""

from __future__ import annotations

from dataclasses import dataclass

import jax.numpy as jnp
from jax import Array

MASKED = -1e30  # the score of a masked key; finite, so that a block without a visible key gives no NaN


@dataclass(frozen=True, kw_only=True)
class AttentionSpec:
    """The rules of attention: how scores of keys are computed, and which keys a query sees.

    By default, attention is causal and scaled by d**-0.5.
    """

    scale: float | None = None  # of the scores; None: d**-0.5
    window: int = 0  # number of keys that a query sees, including its own; 0: all before it
    cap: float = 0.0  # smooth bound of scores to -cap .. cap (Gemma 2, arXiv 2408.00118); 0: unbounded
    sinks: Array | None = None  # [H], each head's score of a key without value (gpt-oss, arXiv 2508.10925)

    def scaled(self, q: Array) -> Array:
        """Returns the queries `q[..., d]` in f32, multiplied by the scale."""
        return q.astype(jnp.float32) * self.scale_for(q.shape[-1])

    def scale_for(self, width: int) -> float:
        """Returns the scale of scores of heads with a width of d."""
        return width**-0.5 if self.scale is None else self.scale

    def capped(self, scores: Array) -> Array:
        """Returns `scores`, f32 of any shape, with the cap applied."""
        return self.cap * jnp.tanh(scores / self.cap) if self.cap else scores

    def visible(self, queries: Array, keys: Array) -> Array:
        """Returns whether each query sees each key, bool.

        Args:
            queries: positions of the queries, i32.
            keys: positions of the keys, i32. `queries` and `keys` broadcast to the shape of the result.
        """
        causal = keys <= queries
        return causal & (keys > queries - self.window) if self.window else causal

    def first(self, query: Array) -> Array:
        """Returns the earliest position that the query at position `query` sees. Both are i32 of any shape."""
        return jnp.maximum(query - self.window + 1, 0) if self.window else jnp.zeros_like(query)


PLAIN = AttentionSpec()
