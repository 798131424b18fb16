"""Attention in plain JAX: correct on every platform, and the reference for the kernels that replace it.

Letters in shapes are those of `AttentionBackend`.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import Array

from jaxchat.kernels.attention.spec import MASKED, PLAIN, AttentionSpec

EXACT = jax.lax.Precision.HIGHEST  # otherwise GPUs and TPUs round f32 operands


def causal(layer: int, q: Array, k: Array, v: Array, spec: AttentionSpec = PLAIN) -> Array:
    """Computes the causal attention of a whole sequence to itself, without a cache.

    It is for training and as a test oracle. If `spec` has a window, queries see only the keys inside it.

    Args:
        layer: unused. The signature is that of `models.layers.Attend`.
        q: queries, `[T, H, d]`, f32 or bf16.
        k: keys, `[T, K, d]`, f32 or bf16.
        v: values, `[T, K, d]`, f32 or bf16.
        spec: how scores are computed and which keys are visible.

    Returns:
        `[T, H, d]` in q's dtype. The softmax is computed in f32.
    """
    tokens, heads, width = q.shape
    groups = k.shape[1]
    grouped = spec.scaled(q).reshape(tokens, groups, heads // groups, width)
    scores = spec.capped(jnp.einsum("tkgd,skd->kgts", grouped, k.astype(jnp.float32), precision=EXACT))
    position = jnp.arange(tokens)
    visible = spec.visible(position[:, None], position)
    scores = jnp.where(visible, scores, MASKED)
    if spec.sinks is not None:
        sinks = jnp.broadcast_to(spec.sinks.reshape(groups, -1, 1, 1), (*scores.shape[:-1], 1))
        scores = jnp.concatenate([scores, sinks], axis=-1)
    weights = jax.nn.softmax(scores, axis=-1)[..., :tokens]
    weights = weights.astype(v.dtype)
    mixed = jnp.einsum("kgts,skd->tkgd", weights, v, precision=EXACT, preferred_element_type=jnp.float32)
    return mixed.reshape(tokens, heads, width).astype(q.dtype)
