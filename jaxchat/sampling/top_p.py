"""The nucleus (arXiv 1904.09751) without sorting the vocabulary: bisection on the smallest weight in the nucleus.

Letters: S rows, V tokens in the vocabulary.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

_ONE = 0x3F800000  # the bits of 1.0f; non-negative floats compare as their bits do


class Ranking(NamedTuple):
    """Unnormalised probabilities of each row's tokens, and the sum that the row's nucleus must reach.

    Both are relative to the probability of the row's likeliest token.
    """

    weight: Array  # f32 [S, V]
    goal: Array  # f32 [S, 1]

    @staticmethod
    def of(z: Array, top_p: Array) -> Ranking:
        """Returns the ranking of f32 logits `z[S, V]` after temperature, for f32 `top_p[S]`."""
        weight = jax.lax.optimization_barrier(jnp.exp(z - jnp.max(z, axis=-1, keepdims=True)))  # computed only once
        return Ranking(weight, top_p[:, None] * jnp.sum(weight, axis=-1, keepdims=True))

    def inside(self, tokens: Array, top_p: Array, min_p: Array) -> Array:
        """Returns whether `top_p` and `min_p` keep each row's token, bool `[S]`.

        Args:
            tokens: i32 `[S]`.
            top_p: f32 `[S]`, as for `of`; 1 keeps all tokens.
            min_p: f32 `[S]`, at most 1, the least probability that is kept, as a fraction of the likeliest token's.
        """
        weight, goal, token = self.weight, self.goal, tokens[:, None]
        weight_of_token = jnp.take_along_axis(weight, token, axis=-1)
        tied = weight == weight_of_token
        above = jnp.sum(jnp.where(weight > weight_of_token, weight, 0.0), axis=-1, keepdims=True)
        through = jnp.sum(jnp.where(weight >= weight_of_token, weight, 0.0), axis=-1, keepdims=True)
        rank = jnp.sum(tied & (jnp.arange(weight.shape[-1]) <= token), axis=-1, keepdims=True)
        last = ((above < goal) | (above == 0)) & (rank <= _needed(goal, above, weight_of_token))
        nucleus = ((through < goal) | last)[:, 0] | (top_p >= 1.0)
        return nucleus & (weight_of_token[:, 0] >= min_p)


def _needed(goal: Array, above: Array, tied_weight: Array) -> Array:
    """Returns how many tokens of weight `tied_weight`, added to the sum `above`, reach `goal`; at least one.

    All are f32 `[S, 1]`.
    """
    return jnp.maximum(jnp.ceil((goal - above) / tied_weight), 1.0)


def top_p_mask(z: Array, top_p: Array) -> Array:
    """Returns whether each token is in its row's nucleus.

    Tokens are ordered by descending probability, ties by ascending id. The nucleus is the shortest prefix of this order
    whose probability reaches `top_p`, but at least one token. Rows with `top_p >= 1` keep all tokens.

    Args:
        z: `[S, V]` f32 logits after temperature; -inf where masked.
        top_p: `[S]` f32.

    Returns:
        `[S, V]` bool.
    """
    ranking = Ranking.of(z, top_p)
    weight, goal = ranking.weight, ranking.goal
    low = jnp.zeros_like(goal, jnp.int32)

    def halve(_: int, bounds: tuple[Array, Array]) -> tuple[Array, Array]:
        low, high = bounds
        middle = low + (high - low) // 2
        reached = jnp.sum(jnp.where(weight >= _float(middle), weight, 0.0), axis=-1, keepdims=True) >= goal
        return jnp.where(reached, middle, low), jnp.where(reached, high, middle)

    # An unrolled loop is faster on XLA:CPU for the few rows here, but took a seventh of a program's compile time.
    low, _ = jax.lax.fori_loop(0, 30, halve, (low, jnp.full_like(low, _ONE + 1)))
    threshold = _float(low)
    keep = _drop_surplus_ties(weight >= threshold, weight == threshold, weight, goal)
    return keep | (top_p >= 1.0)[:, None]


def _float(bits: Array) -> Array:
    return jax.lax.bitcast_convert_type(bits, jnp.float32)


def _drop_surplus_ties(keep: Array, tied: Array, weight: Array, goal: Array) -> Array:
    """Returns `keep` without the tied tokens that the nucleus does not need.

    Among tied tokens, those with the lowest ids remain.

    Args:
        keep: tokens at least as likely as the least likely one of the nucleus, bool `[S, V]`.
        tied: tokens as likely as the least likely one of the nucleus, bool `[S, V]`.
        weight: f32 `[S, V]`, as in `Ranking`.
        goal: f32 `[S, 1]`, as in `Ranking`.
    """
    above = jnp.sum(jnp.where(keep & ~tied, weight, 0.0), axis=-1, keepdims=True)
    tied_weight = jnp.max(jnp.where(tied, weight, 0.0), axis=-1, keepdims=True)
    needed = _needed(goal, above, tied_weight)
    count = jnp.sum(tied, axis=-1, keepdims=True)

    def cut(keep: Array) -> Array:
        rank = jnp.cumsum(tied, axis=-1)
        return keep & (~tied | (rank <= needed))

    return jax.lax.cond(jnp.any(count > needed), cut, lambda keep: keep, keep)
