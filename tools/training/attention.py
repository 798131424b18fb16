"""Causal attention over packed conversations, with a gradient that XLA:CPU computes fast.

With plain einsums, attention takes half of a training step. The gradient of the einsums has products with a transposed
left operand, and XLA:CPU has no fast code for such products. Einsums also compute the scores that the causal mask
drops: half of all scores.

Letters: R rows of T tokens, K KV heads with G query heads each, d head dimension.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import Array

BLOCK = 128  # queries that share one slice of the keys


def attention(q: Array, k: Array, v: Array, ids: Array) -> Array:
    """Returns causal attention `[R, T, K, G, d]`, f32, inside each conversation.

    Args:
        q: queries, f32 `[R, T, K, G, d]`, for G query heads per KV head.
        k: keys, f32 `[R, T, K, d]`.
        v: values, f32 `[R, T, K, d]`.
        ids: number of the conversation to which each token belongs, i32 `[R, T]`. Tokens attend only to tokens with the
            same number.
    """
    rows, length, heads, group, width = q.shape
    q = (q * width**-0.5).transpose(0, 2, 1, 3, 4)
    k, v = k.transpose(0, 2, 1, 3), v.transpose(0, 2, 1, 3)
    parts = []
    for start in range(0, length, BLOCK):
        stop = min(start + BLOCK, length)
        seen = _seen(ids[:, start:stop], ids[:, :stop], start, group)
        block = q[:, :, start:stop].reshape(rows * heads, (stop - start) * group, width)
        keys, values = (x[:, :, :stop].reshape(rows * heads, stop, width) for x in (k, v))
        mixed = _attend(block, keys, values, jnp.repeat(seen, heads, 0))
        parts.append(mixed.reshape(rows, heads, stop - start, group, width))
    return jnp.concatenate(parts, 2).transpose(0, 2, 1, 3, 4)


def _seen(queries: Array, keys: Array, start: int, group: int) -> Array:
    """Returns whether each of Q queries attends to each of S keys, bool `[R, Q * G, S]`.

    Args:
        queries: number of the conversation to which each query belongs, i32 `[R, Q]`.
        keys: number of the conversation to which each key belongs, i32 `[R, S]`.
        start: position of the first query.
        group: query heads per KV head, G.
    """
    causal = start + jnp.arange(queries.shape[1])[:, None] >= jnp.arange(keys.shape[1])
    return jnp.repeat((queries[:, :, None] == keys[:, None]) & causal, group, 1)


@jax.custom_vjp
def _attend(q: Array, k: Array, v: Array, seen: Array) -> Array:
    """Returns the attention of `q[B, Q, d]` over `k[B, S, d]` and `v[B, S, d]` where `seen[B, Q, S]` is true.

    All are f32 except `seen`, which is bool.
    """
    return _forward(q, k, v, seen)[0]


def _forward(q: Array, k: Array, v: Array, seen: Array) -> tuple[Array, tuple[Array, ...]]:
    scores = jnp.where(seen, jnp.einsum("bqd,bsd->bqs", q, k), -1e30)
    weights = jnp.exp(scores - scores.max(-1, keepdims=True))
    weights = weights / weights.sum(-1, keepdims=True)
    mixed = jnp.einsum("bqs,bsd->bqd", weights, v)
    return mixed, (q, k, v, weights, mixed)


def _backward(saved: tuple[Array, ...], gradient: Array) -> tuple[Array, Array, Array, None]:
    q, k, v, weights, mixed = saved
    to_weights = jnp.einsum("bqd,bsd->bqs", gradient, v)
    to_scores = weights * (to_weights - (gradient * mixed).sum(-1, keepdims=True))
    turned, turned_weights = jax.lax.optimization_barrier((to_scores.transpose(0, 2, 1), weights.transpose(0, 2, 1)))
    to_q = jnp.einsum("bqs,bsd->bqd", to_scores, k)
    return to_q, jnp.einsum("bsq,bqd->bsd", turned, q), jnp.einsum("bsq,bqd->bsd", turned_weights, gradient), None


_attend.defvjp(_forward, _backward)
