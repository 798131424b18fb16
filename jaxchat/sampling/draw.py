"""Drawing one token per row from tempered logits, within the nucleus.

Which of two ways a row takes depends on that row alone, so a neighbour never changes a token:

- A nucleus inside the row's `CANDIDATES` most likely tokens is drawn from those: `argmax(z + Gumbel noise)`.
- Otherwise a group of tokens is drawn by its mass, and then a token within the group, both by Gumbel noise. That is the
  same distribution as noise on every token (arXiv 1110.0567 for the maximum of Gumbel variables), which would cost 20
  times as much: noise is what sampling spends its time on.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import Array

from jaxchat.sampling.groups import GROUP, grouped, log_masses, top_k
from jaxchat.sampling.noise import GROUP_IDS, Keys, gumbel
from jaxchat.sampling.nucleus import nucleus

CANDIDATES = 128


def draw(z: Array, top_p: Array, keys: Keys, drawn: Array) -> Array:
    """Tokens i32 `[S]`.

    Args:
        z: `[S, V]` f32 logits after temperature; -inf where masked.
        top_p: `[S]` f32.
        keys: of the row's seed, choice and step.
        drawn: `[S]` bool; what other rows return is meaningless.
    """
    truncated = drawn & (top_p < 1.0)
    nothing = jnp.zeros(len(z), jnp.int32), jnp.zeros(len(z), bool)
    few, held = jax.lax.cond(jnp.any(truncated), lambda: _from_candidates(z, top_p, keys), lambda: nothing)
    held = held & truncated
    rest = drawn & ~held
    many = jax.lax.cond(jnp.any(rest), lambda: _from_groups(z, top_p, keys, rest & truncated), lambda: few)
    return jnp.where(held, few, many)


def _from_candidates(z: Array, top_p: Array, keys: Keys) -> tuple[Array, Array]:
    """Tokens, and for which rows the candidates hold the whole nucleus."""
    values, ids = top_k(z, min(CANDIDATES, z.shape[-1]))
    top = values[:, :1]
    weights = jnp.exp(values - top)
    goal = top_p[:, None] * jnp.sum(jnp.exp(z - top), axis=-1, keepdims=True)
    reached = jnp.cumsum(weights, axis=-1)
    kept = (reached - weights < goal).at[:, 0].set(True)
    noisy = jnp.where(kept, values + gumbel(keys, ids), -jnp.inf)
    tokens = jnp.take_along_axis(ids, jnp.argmax(noisy, axis=-1, keepdims=True), axis=-1)[:, 0]
    return tokens, (reached[:, -1:] >= goal)[:, 0]


def _from_groups(z: Array, top_p: Array, keys: Keys, truncated: Array) -> Array:
    z = jax.lax.cond(
        jnp.any(truncated),
        lambda z: jnp.where(nucleus(z, top_p) | ~truncated[:, None], z, -jnp.inf),
        lambda z: z,
        z,
    )
    masses = log_masses(z)
    numbers = jnp.arange(masses.shape[-1])[None]
    group = jnp.argmax(masses + gumbel(keys, numbers + GROUP_IDS), axis=-1)[:, None]
    ids = group * GROUP + jnp.arange(GROUP)
    inside = jnp.take_along_axis(grouped(z), group[:, :, None], axis=1)[:, 0]
    token = jnp.argmax(inside + gumbel(keys, ids), axis=-1)[:, None]
    return jnp.take_along_axis(ids, token, axis=-1)[:, 0].astype(jnp.int32)
