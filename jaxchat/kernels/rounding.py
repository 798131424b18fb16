"""Rounding to 8 bits, symmetrically, with one scale for each vector."""

from __future__ import annotations

import jax.numpy as jnp
from jax import Array

LIMIT = 127


def round_to_int8(x: Array) -> tuple[Array, Array]:
    """Rounds vectors to integers in -127 .. 127, which are still f32.

    If a vector contains NaN or infinity, its scale is NaN. Its integers times the scale are then NaN too.

    Args:
        x: vectors of d numbers, f32 `[..., d]`.

    Returns:
        Integers f32 `[..., d]`, and the scale of each vector, f32 `[...]`.
    """
    sizes = jnp.where(jnp.isnan(x), jnp.inf, jnp.abs(x))  # the maximum of XLA:CPU may ignore NaN
    scale = jnp.max(sizes, axis=-1) / LIMIT
    scale = jnp.where(jnp.isinf(scale), jnp.nan, scale)
    return jnp.round(x / jnp.where(scale > 0, scale, 1.0)[..., None]), scale
