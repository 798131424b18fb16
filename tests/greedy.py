"""A greedy sampler for tests whose subject is not sampling. Programs with it compile in a third of the time."""

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
    """Takes the likeliest token that the grammar allows. Always reports log-probabilities. Replaces `sample`.

    Args:
        logits: f32 `[S, V]`.
        state: ignored.
        valid: number of token ids that are not padding.
        token_mask: the tokens that grammars allow.
        others: ignored.
    """
    raw = mask_padding(logits, valid)
    allowed = token_mask.keep(raw, raw)
    top = jnp.max(allowed, axis=-1)
    tokens = jnp.minimum(first_argmax(allowed, top), valid - 1)
    return Sampled(tokens, jnp.isfinite(top), logprobs(raw, tokens))


def sample_greedily() -> None:
    """Makes all models that this process loads from now on use `greedy`."""
    load.sample = greedy
