"""One token per slot from raw logits, and what is reported about it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jax import Array

from jaxchat.sampling.logits import add_bias, mask_padding, restrict, subtract_penalties
from jaxchat.sampling.logprobs import Logprobs, logprobs
from jaxchat.sampling.noise import gumbel, step_keys
from jaxchat.sampling.nucleus import nucleus
from jaxchat.sampling.state import SamplingState

Adjust = Callable[[Array, SamplingState], Array]
GREEDY_BELOW = 1e-5  # temperatures under this are greedy


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Sampled:
    """Tokens i32 `[S]`, whether the model's logits were numbers (bool `[S]`), and log-probabilities."""

    tokens: Array
    finite: Array
    logprobs: Logprobs


def sample(logits: Array, state: SamplingState, active: Array, valid: int) -> Sampled:
    """Samples each row by its own parameters.

    Features that no active row uses are skipped by `lax.cond` on a scalar of the batch, so they cost nothing and need
    no program of their own; each leaves rows that do not use it untouched, so a neighbour never changes a token.

    Args:
        logits: `[S, V]` f32, raw.
        state: parameters and history of the S rows.
        active: `[S]` bool; what inactive rows return is meaningless.
        valid: number of ids, from 0, that are tokens; the rest is padding.
    """
    raw = mask_padding(logits, valid)
    finite = jnp.isfinite(jnp.max(raw, axis=-1))
    biased = jnp.any((state.bias_ids < raw.shape[-1]) & active[:, None])
    penalised = jnp.any(((state.frequency != 0) | (state.presence != 0)) & active)
    mu = _when(biased, add_bias, raw, state)
    mu = _when(penalised, subtract_penalties, mu, state)
    mu = _when(biased, restrict, mu, state)
    tokens = first_argmax(mu)
    drawn = (state.temperature >= GREEDY_BELOW) & active
    tokens = jax.lax.cond(
        jnp.any(drawn), lambda: jnp.where(drawn, _draw(mu, state, drawn), tokens), lambda: tokens
    )
    tokens = jnp.minimum(tokens, valid - 1)
    reported = jax.lax.cond(
        jnp.any(state.logprobs & active), logprobs, lambda rows, _: Logprobs.zeros(*rows.shape), raw, tokens
    )
    return Sampled(tokens, finite, reported)


def first_argmax(x: Array) -> Array:
    """Index i32 `[S]` of the largest entry of each row, the lowest on ties.

    Two plain reductions; XLA:CPU vectorises them, but not `argmax` (2.9 against 0.1 ms at [8, 152k]).
    """
    ids = jnp.arange(x.shape[-1], dtype=jnp.int32)
    top = jnp.max(x, axis=-1, keepdims=True)
    return jnp.min(jnp.where(x == top, ids, x.shape[-1]), axis=-1)


def _draw(mu: Array, state: SamplingState, drawn: Array) -> Array:
    z = mu / jnp.where(drawn, state.temperature, 1.0)[:, None]
    truncated = jnp.any(drawn & (state.top_p < 1.0))
    z = jax.lax.cond(truncated, lambda z: jnp.where(nucleus(z, state.top_p), z, -jnp.inf), lambda z: z, z)
    keys = step_keys(state.seed, state.choice, state.step)
    return first_argmax(z + gumbel(keys, jnp.arange(mu.shape[-1])[None]))


def _when(used: Array, adjust: Adjust, mu: Array, state: SamplingState) -> Array:
    return jax.lax.cond(used, adjust, lambda mu, _: mu, mu, state)
