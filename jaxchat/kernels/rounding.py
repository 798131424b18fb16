"""Rounding to 8 bits, symmetrically, with one scale for each vector."""

from __future__ import annotations

import jax.numpy as jnp
from jax import Array

LIMIT = 127


def round_to_int8(x: Array) -> tuple[Array, Array]:
    """Rounds vectors to integers in -127 .. 127, which are still f32.

    The scale of a vector with NaN or infinity is NaN or infinity, so that products with the scale are not finite.

    Args:
        x: f32 `[..., d]`.

    Returns:
        Integers f32 `[..., d]`, and the scale of each vector, f32 `[...]`.
    """
    scale = jnp.max(jnp.abs(x), axis=-1) / LIMIT
    return jnp.round(x / jnp.where(scale > 0, scale, 1.0)[..., None]), scale
