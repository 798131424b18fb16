"""Random numbers keyed by (seed, choice, step, token id): no draw depends on a neighbour, a batch or a code path.

This is `jax.random` with the threefry generator spelled out: the key of a step is `fold_in(fold_in(key(seed), choice),
step)`, and the bits of token `j` are element `j` of `jax.random.bits(key, (V,))`. Addressing single elements lets a
short list of candidates draw exactly the noise that the whole row would.
"""

from __future__ import annotations

import jax.numpy as jnp
from jax import Array

from jaxchat.compat import threefry

Keys = tuple[Array, Array]
"""The two u32 words `[S]` of each row's key."""

GROUP_IDS = 1 << 30  # added to the number of a group of tokens, it is no token's id
_BELOW_ONE = 1.0 - 2.0**-24


def step_keys(seed: Array, choice: Array, step: Array) -> Keys:
    """The key words `(u32 [S], u32 [S])` for `seed[S, 2]` (u32), `choice[S]` and `step[S]` (i32)."""
    return _fold_in(*_fold_in(seed[:, 0], seed[:, 1], choice), step)


def fold(keys: Keys, number: Array) -> Keys:
    """The keys of draw `number` (i32 scalar) of a step, after the first others."""
    return _fold_in(*keys, number)


def gumbel(keys: Keys, ids: Array) -> Array:
    """Standard Gumbel noise f32 `[S, n]` of token ids `[S, n]` (or `[1, n]`) under keys of `[S]`.

    `-log(E)` with the exponential `E = -log1p(-u)`: float32 is dense near u = 0, so the upper tail, which decides
    draws, is resolved down to probabilities of 2**-33; `-log(-log(u))` would stop at 2**-24.
    """
    first, second = threefry(keys[0][:, None], keys[1][:, None], jnp.uint32(0), ids.astype(jnp.uint32))
    uniform = ((first ^ second).astype(jnp.float32) + 0.5) * 2.0**-32
    return -jnp.log(-jnp.log1p(-jnp.minimum(uniform, _BELOW_ONE)))


def _fold_in(high: Array, low: Array, data: Array) -> tuple[Array, Array]:
    return threefry(high, low, jnp.uint32(0), data.astype(jnp.uint32))
