"""A sampler for tests of programs whose subject is not sampling: they compile in a third of the time."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from jaxchat.runtime import load
from jaxchat.sampling.logits import mask_padding
from jaxchat.sampling.logprobs import logprobs
from jaxchat.sampling.mask import TokenMask
from jaxchat.sampling.sample import Sampled, first_argmax


def greedy(logits: jax.Array, *state: Any, valid: int, token_mask: TokenMask, **others: Any) -> Sampled:
    """Takes the likeliest token that the grammar allows. Always reports log-probabilities. Stands in for `sample`."""
    raw = mask_padding(logits, valid)
    allowed = token_mask.keep(raw, raw)
    top = jnp.max(allowed, axis=-1)
    tokens = jnp.minimum(first_argmax(allowed, top), valid - 1)
    return Sampled(tokens, jnp.isfinite(top), logprobs(raw, tokens))


def sample_greedily() -> None:
    """Makes all models that this process loads from now on use `greedy`."""
    load.sample = greedy
