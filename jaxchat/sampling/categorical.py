"""Samples one token per row from tempered logits, within the nucleus.

There are two methods. Which one a row uses depends on that row alone, so its neighbours never change its token:

- If the row's `CANDIDATES` most likely tokens contain the whole nucleus: `argmax(z + Gumbel noise)` over them.
- Otherwise: a group of tokens is sampled by its probability mass, then a token within the group, both by Gumbel
  noise. The distribution is the same as with noise on every token (arXiv 1110.0567 for the maximum of Gumbel
  variables), which would cost 20 times as much: sampling spends most of its time on noise. A token outside the nucleus
  is sampled again, which yields the distribution within the nucleus (von Neumann's rejection). Testing whether one
  token is inside takes one pass over the row; finding the whole nucleus takes thirty. The nucleus is found only for
  rows whose `TRIES` tokens were all outside.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import Array

from jaxchat.sampling.gumbel import GROUP_IDS, Keys, attempt_keys, gumbel
from jaxchat.sampling.top_p import Ranking, top_p_mask
from jaxchat.sampling.topk import GROUP, grouped, log_masses, top_k

CANDIDATES = 128
TRIES = 8
Trial = tuple[Array, Array, Array]  # number of attempts, tokens i32 [S], rows that still need one bool [S]


def categorical(z: Array, top_p: Array, keys: Keys, sampled_rows: Array) -> Array:
    """Samples one token per row.

    Args:
        z: `[S, V]` f32 logits after temperature; -inf where masked.
        top_p: `[S]` f32.
        keys: key of each row, see `step_keys`.
        sampled_rows: `[S]` bool; the result of other rows is meaningless.

    Returns:
        Token ids, i32 `[S]`.
    """
    truncated = sampled_rows & (top_p < 1.0)
    nothing = jnp.zeros(len(z), jnp.int32), jnp.zeros(len(z), bool)
    few, complete = jax.lax.cond(jnp.any(truncated), lambda: _from_candidates(z, top_p, keys), lambda: nothing)
    complete = complete & truncated
    remaining = sampled_rows & ~complete
    many = jax.lax.cond(jnp.any(remaining), lambda: _from_groups(z, top_p, keys, remaining, truncated), lambda: few)
    return jnp.where(complete, few, many)


def _from_candidates(z: Array, top_p: Array, keys: Keys) -> tuple[Array, Array]:
    """Returns tokens i32 `[S]`, and in which rows the candidates contain the whole nucleus (bool `[S]`)."""
    values, ids = top_k(z, min(CANDIDATES, z.shape[-1]))
    top = values[:, :1]
    weights = jnp.exp(values - top)
    goal = top_p[:, None] * jnp.sum(jnp.exp(z - top), axis=-1, keepdims=True)
    reached = jnp.cumsum(weights, axis=-1)
    nucleus = (reached - weights < goal).at[:, 0].set(True)
    noisy = jnp.where(nucleus, values + gumbel(keys, ids), -jnp.inf)
    tokens = jnp.take_along_axis(ids, jnp.argmax(noisy, axis=-1, keepdims=True), axis=-1)[:, 0]
    return tokens, (reached[:, -1:] >= goal)[:, 0]


def _from_groups(z: Array, top_p: Array, keys: Keys, rows: Array, truncated: Array) -> Array:
    """Returns tokens i32 `[S]`, valid where `rows` (bool `[S]`), within the nucleus where `truncated` (bool `[S]`)."""
    masses = log_masses(z)
    ranking = Ranking.of(z, top_p)
    high, low = attempt_keys(keys, TRIES + 1)  # outside the loop; inside, XLA would recompute the key for every token

    def unfinished(trial: Trial) -> Array:
        return jnp.any(trial[2]) & (trial[0] < TRIES)

    def attempt(trial: Trial) -> Trial:
        number, tokens, pending = trial
        drawn = _by_groups(z, masses, (high[number], low[number]))
        outside = truncated & ~ranking.inside(drawn)
        return number + 1, jnp.where(pending, drawn, tokens), pending & outside

    start = jnp.int32(0), jnp.zeros(len(z), jnp.int32), rows
    _, tokens, pending = jax.lax.while_loop(unfinished, attempt, start)

    def search() -> Array:
        nucleus = jnp.where(top_p_mask(z, top_p), z, -jnp.inf)
        return jnp.where(pending, _by_groups(nucleus, log_masses(nucleus), (high[TRIES], low[TRIES])), tokens)

    return jax.lax.cond(jnp.any(pending), search, lambda: tokens)


def _by_groups(z: Array, masses: Array, keys: Keys) -> Array:
    """Samples a group of the whole row by its mass, then one of its tokens. Returns tokens i32 `[S]`."""
    numbers = jnp.arange(masses.shape[-1])[None]
    group = jnp.argmax(masses + gumbel(keys, numbers + GROUP_IDS), axis=-1)[:, None]
    ids = group * GROUP + jnp.arange(GROUP)
    inside = jnp.take_along_axis(grouped(z), group[:, :, None], axis=1)[:, 0]
    token = jnp.argmax(inside + gumbel(keys, ids), axis=-1)[:, None]
    return jnp.take_along_axis(ids, token, axis=-1)[:, 0].astype(jnp.int32)
