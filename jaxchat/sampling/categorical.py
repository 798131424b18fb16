"""Drawing one token per row from tempered logits, within the nucleus.

Which of two ways a row takes depends on that row alone, so a neighbour never changes a token:

- A nucleus inside the row's `CANDIDATES` most likely tokens is drawn from those: `argmax(z + Gumbel noise)`.
- Otherwise a group of tokens is drawn by its mass, and then a token within the group, both by Gumbel noise. That is the
  same distribution as noise on every token (arXiv 1110.0567 for the maximum of Gumbel variables), which would cost 20
  times as much: noise is what sampling spends its time on. A token outside the nucleus is drawn again, which leaves the
  nucleus's own distribution (von Neumann's rejection). Whether one is inside takes one pass over the row, where finding
  all that are takes thirty; that is done only for a row whose `TRIES` tokens all were outside.
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
Trial = tuple[Array, Array, Array]  # how many there were, tokens, rows that still need one


def categorical(z: Array, top_p: Array, keys: Keys, sampled_rows: Array) -> Array:
    """Tokens i32 `[S]`.

    Args:
        z: `[S, V]` f32 logits after temperature; -inf where masked.
        top_p: `[S]` f32.
        keys: of the row's seed, choice and step.
        drawn: `[S]` bool; what other rows return is meaningless.
    """
    truncated = sampled_rows & (top_p < 1.0)
    nothing = jnp.zeros(len(z), jnp.int32), jnp.zeros(len(z), bool)
    few, complete = jax.lax.cond(jnp.any(truncated), lambda: _from_candidates(z, top_p, keys), lambda: nothing)
    complete = complete & truncated
    remaining = sampled_rows & ~complete
    many = jax.lax.cond(jnp.any(remaining), lambda: _from_groups(z, top_p, keys, remaining, truncated), lambda: few)
    return jnp.where(complete, few, many)


def _from_candidates(z: Array, top_p: Array, keys: Keys) -> tuple[Array, Array]:
    """Tokens, and for which rows the candidates hold the whole nucleus."""
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
    """Tokens of the rows that are `rows`, within the nucleus where they are `truncated` (bool `[S]`)."""
    masses = log_masses(z)
    ranking = Ranking.of(z, top_p)
    high, low = attempt_keys(keys, TRIES + 1)  # before the loop, or each token's noise would make its own key again

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
    """Tokens i32 `[S]` of the whole row: a group by its mass, then one of its tokens."""
    numbers = jnp.arange(masses.shape[-1])[None]
    group = jnp.argmax(masses + gumbel(keys, numbers + GROUP_IDS), axis=-1)[:, None]
    ids = group * GROUP + jnp.arange(GROUP)
    inside = jnp.take_along_axis(grouped(z), group[:, :, None], axis=1)[:, 0]
    token = jnp.argmax(inside + gumbel(keys, ids), axis=-1)[:, None]
    return jnp.take_along_axis(ids, token, axis=-1)[:, 0].astype(jnp.int32)
