"""Adjustments of logits before sampling, in the order in which they apply: bias, penalties, exclusive tokens and bans.

Every function takes and returns logits f32 `[S, V]`. Rows that do not use a function's feature keep their bits.

Letters: S rows, V tokens in the vocabulary.
"""

from __future__ import annotations

import jax.numpy as jnp
from jax import Array

from jaxchat.sampling.mask import expand_bits
from jaxchat.sampling.state import SamplingState

BAN, EXCLUSIVE = -100.0, 100.0


def mask_padding(logits: Array, valid: int) -> Array:
    """Returns the logits `[S, V]` with -inf for ids from `valid` on, which are padding rows of the embedding."""
    if valid == logits.shape[-1]:
        return logits
    return jnp.where(jnp.arange(logits.shape[-1]) < valid, logits, -jnp.inf)


def add_bias(mu: Array, state: SamplingState) -> Array:
    """Returns `mu[i, j] + logit_bias[i, j]` for each row i and token j, f32 `[S, V]`."""
    return mu.at[_rows(mu), state.bias_ids].add(state.bias, mode="drop")


def apply_penalties(mu: Array, state: SamplingState) -> Array:
    """Applies the repetition penalty, then frequency and presence penalties, in vLLM's order.

    The repetition penalty concerns each token of the prompt or the answer. It divides positive logits and multiplies
    other logits (arXiv 1909.05858, `RepetitionPenaltyLogitsProcessor` of transformers). For its result x, the logit of
    each token j is then `x[j] - count[j] * frequency_penalty - (count[j] > 0) * presence_penalty`. `count[j]` is how
    often the answer has token j so far. The prompt does not count.
    """
    counts, repetition = state.counts, state.repetition_penalty[:, None]
    occurs = (counts > 0) | expand_bits(state.prompt, mu.shape[-1])
    mu = jnp.where(occurs, jnp.where(mu > 0, mu / repetition, mu * repetition), mu)
    mu = mu - counts.astype(jnp.float32) * state.frequency_penalty[:, None]
    return mu - jnp.where(counts > 0, state.presence_penalty[:, None], 0.0)


def restrict(mu: Array, state: SamplingState) -> Array:
    """Applies the ends of the bias range to logits `[S, V]`: +100 leaves only tokens with that bias, -100 bans a token.

    A row stays unchanged if the two rules together would leave no token.
    """
    vocab = mu.shape[-1]
    only = jnp.where(state.bias >= EXCLUSIVE, state.bias_ids, vocab)
    banned = jnp.where(state.bias <= BAN, state.bias_ids, vocab)
    exclusive_tokens = jnp.zeros(mu.shape, bool).at[_rows(mu), only].set(True, mode="drop")
    exclusive = jnp.any(exclusive_tokens, axis=-1, keepdims=True)
    limited = jnp.where(exclusive & ~exclusive_tokens, -jnp.inf, mu)
    limited = limited.at[_rows(mu), banned].set(-jnp.inf, mode="drop")
    empty = jnp.all(limited == -jnp.inf, axis=-1, keepdims=True)
    return jnp.where(empty, mu, limited)


def _rows(mu: Array) -> Array:
    return jnp.arange(mu.shape[0])[:, None]
