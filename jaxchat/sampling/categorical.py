"""Samples one token per row from logits after temperature, within the row's truncation.

There are two methods. Which method a row uses depends on that row alone, so its neighbours never change its token:

- If the truncation keeps only tokens among the row's `CANDIDATES` most likely ones, the token is the `argmax(z + Gumbel
  noise)` over the kept tokens.
- Otherwise a group of tokens is sampled by its probability mass, then a token within the group, both by Gumbel noise.
  The distribution is the same as with noise on every token (arXiv 1110.0567 for the maximum of Gumbel variables). Noise
  on every token would cost 20 times as much.

The second method ignores the truncation at first. If a token is outside the truncation, another token is sampled. The
result has the distribution within the truncation (von Neumann's rejection). Testing one token takes one pass over the
row. Finding all tokens within the truncation takes thirty passes. This is done only in rows in which `TRIES` tokens
were tried and all were outside, and in rows with `top_k`, where one pass cannot test a token.

Letters: S rows, V tokens in the vocabulary.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import Array

from jaxchat.sampling.gumbel import GROUP_IDS, Keys, attempt_keys, gumbel
from jaxchat.sampling.top_p import Ranking
from jaxchat.sampling.topk import GROUP, grouped, log_masses, top_k
from jaxchat.sampling.truncation import Truncation

CANDIDATES = 128
TRIES = 8
Trial = tuple[Array, Array, Array]  # number of attempts, tokens i32 [S], bool [S]: rows without a final token


def categorical(z: Array, truncation: Truncation, keys: Keys, sampled_rows: Array) -> Array:
    """Samples one token per row.

    Args:
        z: `[S, V]` f32 logits after temperature; -inf where masked.
        truncation: the limits of each row.
        keys: key of each row, see `step_keys`.
        sampled_rows: `[S]` bool; the result of other rows is meaningless.

    Returns:
        Token ids, i32 `[S]`.
    """
    truncated = sampled_rows & truncation.applies(z.shape[-1])
    nothing = jnp.zeros(len(z), jnp.int32), jnp.zeros(len(z), bool)
    few, complete = jax.lax.cond(jnp.any(truncated), lambda: _from_candidates(z, truncation, keys), lambda: nothing)
    complete = complete & truncated
    remaining = sampled_rows & ~complete
    many = jax.lax.cond(
        jnp.any(remaining), lambda: _from_groups(z, truncation, keys, remaining, truncated), lambda: few
    )
    return jnp.where(complete, few, many)


def _from_candidates(z: Array, truncation: Truncation, keys: Keys) -> tuple[Array, Array]:
    """Samples each row from its `CANDIDATES` most likely tokens, within its truncation.

    Returns:
        The tokens, i32 `[S]`, and whether the row's truncation keeps only tokens among these candidates, bool `[S]`.
    """
    vocab = z.shape[-1]
    k, top_p, min_p = truncation.top_k[:, None], truncation.top_p[:, None], truncation.min_p[:, None]
    values, ids = top_k(z, min(CANDIDATES, vocab))
    top = values[:, :1]
    weights = jnp.exp(values - top)
    ranked = jnp.arange(values.shape[-1]) < k
    by_rank = k < vocab
    total = jnp.where(
        by_rank,
        jnp.sum(jnp.where(ranked, weights, 0.0), axis=-1, keepdims=True),
        jnp.sum(jnp.exp(z - top), axis=-1, keepdims=True),
    )
    goal = top_p * total
    reached = jnp.cumsum(weights, axis=-1)
    nucleus = (reached - weights < goal) | (top_p >= 1.0)
    keep = (nucleus & ranked & (weights >= min_p)).at[:, 0].set(True)
    noisy = jnp.where(keep, values + gumbel(keys, ids), -jnp.inf)
    tokens = jnp.take_along_axis(ids, jnp.argmax(noisy, axis=-1, keepdims=True), axis=-1)[:, 0]
    by_weight = ((top_p < 1.0) & (reached[:, -1:] >= goal)) | (weights[:, -1:] < min_p)
    return tokens, jnp.where(by_rank, k <= CANDIDATES, by_weight)[:, 0]


def _from_groups(z: Array, truncation: Truncation, keys: Keys, rows: Array, truncated: Array) -> Array:
    """Samples a group and then a token in it, for the rows that `rows` marks, bool `[S]`. Returns tokens i32 `[S]`.

    Other rows are meaningless. In rows that `truncated` marks, bool `[S]`, the token is within the truncation.
    """
    masses = log_masses(z)
    ranking = Ranking.of(z, truncation.top_p)
    searched = rows & truncation.has_top_k(z.shape[-1])
    high, low = attempt_keys(keys, TRIES + 1)  # outside the loop; inside, XLA would recompute the key for every token

    def unfinished(trial: Trial) -> Array:
        return jnp.any(trial[2]) & (trial[0] < TRIES)

    def attempt(trial: Trial) -> Trial:
        number, tokens, pending = trial
        drawn = _by_groups(z, masses, (high[number], low[number]))
        outside = truncated & ~ranking.inside(drawn, truncation.top_p, truncation.min_p)
        return number + 1, jnp.where(pending, drawn, tokens), pending & outside

    start = jnp.int32(0), jnp.zeros(len(z), jnp.int32), rows & ~searched
    _, tokens, pending = jax.lax.while_loop(unfinished, attempt, start)
    pending |= searched

    def search() -> Array:
        nucleus = truncation.apply(z)
        return jnp.where(pending, _by_groups(nucleus, log_masses(nucleus), (high[TRIES], low[TRIES])), tokens)

    return jax.lax.cond(jnp.any(pending), search, lambda: tokens)


def _by_groups(z: Array, masses: Array, keys: Keys) -> Array:
    """Samples in each row a group by its probability mass, then a token of that group. Returns i32 `[S]`."""
    numbers = jnp.arange(masses.shape[-1])[None]
    group = jnp.argmax(masses + gumbel(keys, numbers + GROUP_IDS), axis=-1)[:, None]
    ids = group * GROUP + jnp.arange(GROUP)
    inside = jnp.take_along_axis(grouped(z), group[:, :, None], axis=1)[:, 0]
    token = jnp.argmax(inside + gumbel(keys, ids), axis=-1)[:, None]
    return jnp.take_along_axis(ids, token, axis=-1)[:, 0].astype(jnp.int32)
