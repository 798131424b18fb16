"""Attention in plain JAX: correct on every backend, and the yardstick for the kernels that replace it."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import Array

MASKED = -1e30  # finite: a row that sees nothing yet must not turn into NaN


def causal(layer: int, q: Array, k: Array, v: Array) -> Array:
    """Full causal attention over one sequence, without a cache; for training and as a test oracle.

    Args:
        layer: unused; the signature is that of `models.layers.Attend`.
        q: `[T, H, d]`.
        k: `[T, K, d]`.
        v: `[T, K, d]`.

    Returns:
        `[T, H, d]` in q's dtype; softmax in f32.
    """
    tokens, heads, width = q.shape
    groups = k.shape[1]
    q = q.reshape(tokens, groups, heads // groups, width)
    scores = jnp.einsum("tkgd,skd->kgts", q, k, preferred_element_type=jnp.float32) * width**-0.5
    visible = jnp.tril(jnp.ones((tokens, tokens), bool))
    weights = jax.nn.softmax(jnp.where(visible, scores, MASKED), axis=-1)
    mixed = jnp.einsum("kgts,skd->tkgd", weights.astype(v.dtype), v, preferred_element_type=jnp.float32)
    return mixed.reshape(tokens, heads, width).astype(q.dtype)
