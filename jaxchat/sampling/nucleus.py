"""The nucleus (arXiv 1904.09751) without sorting the vocabulary: bisection on the smallest weight that is kept."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import Array

_ONE = 0x3F800000  # the bits of 1.0f; non-negative floats compare as their bits do


def nucleus(z: Array, top_p: Array) -> Array:
    """Which tokens the nucleus keeps.

    The shortest prefix, in order of falling probability and rising id, whose probability reaches `top_p`; at least one
    token. Rows with `top_p >= 1` keep everything.

    Args:
        z: `[S, V]` f32 logits after temperature; -inf where masked.
        top_p: `[S]` f32.

    Returns:
        `[S, V]` bool.
    """
    weight = jax.lax.optimization_barrier(jnp.exp(z - jnp.max(z, axis=-1, keepdims=True)))  # computed once
    goal = top_p[:, None] * jnp.sum(weight, axis=-1, keepdims=True)
    low = jnp.zeros_like(goal, jnp.int32)
    high = jnp.full_like(low, _ONE + 1)
    for _ in range(30):  # unrolled: a loop costs XLA:CPU a third more
        middle = low + (high - low) // 2
        enough = jnp.sum(jnp.where(weight >= _float(middle), weight, 0.0), axis=-1, keepdims=True) >= goal
        low, high = jnp.where(enough, middle, low), jnp.where(enough, high, middle)
    threshold = _float(low)
    keep = _drop_surplus_ties(weight >= threshold, weight == threshold, weight, goal)
    return keep | (top_p >= 1.0)[:, None]


def _float(bits: Array) -> Array:
    return jax.lax.bitcast_convert_type(bits, jnp.float32)


def _drop_surplus_ties(keep: Array, tied: Array, weight: Array, goal: Array) -> Array:
    """Of the tokens exactly at the threshold, keeps the lowest ids that suffice."""
    above = jnp.sum(jnp.where(keep & ~tied, weight, 0.0), axis=-1, keepdims=True)
    one = jnp.max(jnp.where(tied, weight, 0.0), axis=-1, keepdims=True)
    needed = jnp.maximum(jnp.ceil((goal - above) / one), 1.0)
    count = jnp.sum(tied, axis=-1, keepdims=True)

    def cut(keep: Array) -> Array:
        rank = jnp.cumsum(tied, axis=-1)
        return keep & (~tied | (rank <= needed))

    return jax.lax.cond(jnp.any(count > needed), cut, lambda keep: keep, keep)
