"""Random numbers keyed by (seed, choice, step, token id): no number depends on a neighbour, a batch or a code path.

This is `jax.random` with the threefry generator written out. The key of a step is `fold_in(fold_in(key(seed), choice),
step)`. The bits of token `j` are element `j` of `jax.random.bits(key, (V,))`. Because single elements can be addressed,
a short list of candidates gets exactly the noise that the whole row would give them.

Letters: S rows, V tokens in the vocabulary.
"""

from __future__ import annotations

import jax.numpy as jnp
from jax import Array

Keys = tuple[Array, Array]
"""The two u32 words `[S]` of each row's key."""

GROUP_IDS = 1 << 30  # added to a group's number, so that it never equals a token's id
_BELOW_ONE = 1.0 - 2.0**-24
_PARITY = 0x1BD11BDA
_ROTATIONS = (13, 15, 26, 6), (17, 29, 16, 24)  # bits, for alternating groups of four rounds


def step_keys(seed: Array, choice: Array, step: Array) -> Keys:
    """Returns the key words `(u32 [S], u32 [S])` for `seed[S, 2]` (u32), `choice[S]` and `step[S]` (i32)."""
    return _fold_in(*_fold_in(seed[:, 0], seed[:, 1], choice), step)


def attempt_keys(keys: Keys, count: int) -> Keys:
    """Returns the keys of `count` attempts within a step: two words, u32 `[count, S]` each."""
    return _fold_in(*keys, jnp.arange(count, dtype=jnp.int32)[:, None])


def gumbel(keys: Keys, ids: Array) -> Array:
    """Returns standard Gumbel noise, f32 `[S, n]`.

    The noise is `-log(E)`, where `E = -log1p(-u)` is exponential and u is uniform between 0 and 1. float32 is dense
    near u = 0. The upper tail of the noise, which decides samples, is therefore resolved down to probabilities of
    2**-33. With `-log(-log(u))`, it would be resolved only down to 2**-24.

    Args:
        keys: key words of each row, u32 `[S]` each.
        ids: n token ids of each row, i32 `[S, n]`, or `[1, n]` for the same ids in every row.
    """
    first, second = _threefry(keys[0][:, None], keys[1][:, None], jnp.uint32(0), ids.astype(jnp.uint32))
    uniform = ((first ^ second).astype(jnp.float32) + 0.5) * 2.0**-32
    return -jnp.log(-jnp.log1p(-jnp.minimum(uniform, _BELOW_ONE)))


def _fold_in(high: Array, low: Array, data: Array) -> tuple[Array, Array]:
    return _threefry(high, low, jnp.uint32(0), data.astype(jnp.uint32))


def _threefry(high: Array, low: Array, x: Array, y: Array) -> tuple[Array, Array]:
    """Computes threefry-2x32 with 20 rounds (Salmon et al. 2011, as `jax.random`) for u32 arrays that broadcast.

    These are plain elementwise operations, which XLA fuses with their uses. On a CPU, jax's primitive is a loop over
    arrays: it takes five times as long to compile, and ten times as long to run on a whole vocabulary.
    """
    keys = high, low, high ^ low ^ jnp.uint32(_PARITY)
    x, y = x + keys[0], y + keys[1]
    for group in range(5):
        for distance in _ROTATIONS[group % 2]:
            x = x + y
            y = x ^ (y << jnp.uint32(distance) | y >> jnp.uint32(32 - distance))
        x = x + keys[(group + 1) % 3]
        y = y + keys[(group + 2) % 3] + jnp.uint32(group + 1)
    return x, y
