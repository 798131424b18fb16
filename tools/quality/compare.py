"""Predicts with the decoder and measures how far two predictions are apart, which shows what rounding changes.

Letters: T tokens, V tokens in the vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from scipy.special import log_softmax

from jaxchat.kernels.attention.reference import causal
from jaxchat.models.config import ModelConfig
from jaxchat.models.decoder import Decoder, hidden_states, logits_of
from jaxchat.models.layers import Attend

Predict = Callable[[np.ndarray], np.ndarray]
"""`predict(ids)` returns the logits, f32 `[T, V]`, after each of the tokens `ids`, i32 `[T]`."""


def predictor(config: ModelConfig, params: dict[str, Any], attend: Attend = causal) -> Predict:
    """Returns a function from token ids, i32 `[T]`, to logits, f32 `[T, V]`. It compiles once for each T.

    Args:
        config: the model.
        params: its parameters.
        attend: how attention is computed.
    """
    decoder = Decoder(config)

    @jax.jit
    def run(params: dict[str, Any], ids: jax.Array) -> jax.Array:
        return logits_of(decoder, params, hidden_states(decoder, params, ids, jnp.arange(len(ids)), attend))

    return lambda ids: np.asarray(run(params, jnp.asarray(ids)))


def divergence(exact: np.ndarray, actual: np.ndarray) -> float:
    """Returns the mean Kullback-Leibler divergence over all positions, in nats.

    Args:
        exact: logits of the true distributions, f32 `[T, V]`.
        actual: logits of the distributions to judge, f32 `[T, V]`.
    """
    p, q = (log_softmax(x.astype(np.float64), axis=-1) for x in (exact, actual))
    return float(np.mean(np.sum(np.exp(p) * (p - q), axis=-1)))


def agreement(exact: np.ndarray, actual: np.ndarray) -> float:
    """Returns the fraction of positions whose most probable token is the same, for logits f32 `[T, V]`."""
    return float(np.mean(actual.argmax(-1) == exact.argmax(-1)))
