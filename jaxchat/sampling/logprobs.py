"""Log-probabilities of the sampled tokens and of the most likely tokens.

Letters: S rows, V tokens in the vocabulary.
"""

from __future__ import annotations

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jax import Array

from jaxchat.sampling.topk import top_k

TOP = 20  # the contract's limit on top_logprobs


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Logprobs:
    """Natural log-probabilities of the sampled token and of the k most likely tokens.

    k is 20, or V if V is less. The most likely tokens are in descending order, ties by lower id.
    """

    sampled: Array  # f32 [S]
    top_ids: Array  # i32 [S, k]
    top: Array  # f32 [S, k]

    @staticmethod
    def zeros(slots: int, vocab: int) -> Logprobs:
        """Returns zeros for `slots` rows over a vocabulary of `vocab` tokens."""
        k = min(TOP, vocab)
        return Logprobs(
            jnp.zeros(slots, jnp.float32), jnp.zeros((slots, k), jnp.int32), jnp.zeros((slots, k), jnp.float32)
        )


def logprobs(logits: Array, tokens: Array) -> Logprobs:
    """Returns the log-probabilities of `tokens`, i32 `[S]`, and of the most likely tokens under `logits`, f32 `[S, V]`.

    They are `x - logsumexp(x)` for a logit x, computed without an `[S, V]` result.
    """
    total = jax.nn.logsumexp(logits, axis=-1)
    sampled = jnp.take_along_axis(logits, tokens[:, None], axis=-1)[:, 0] - total
    top, ids = top_k(logits, min(TOP, logits.shape[-1]))
    return Logprobs(sampled, ids, top - total[:, None])
