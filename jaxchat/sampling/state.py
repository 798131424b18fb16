"""The sampling state of each slot, resident on the device and updated inside the compiled step."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import jax
import jax.numpy as jnp
from jax import Array

BIAS_ENTRIES = 1024  # the contract's limit on logit_bias


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class SamplingState:
    """Sampling parameters and history of S slots over a vocabulary of V.

    `seed` holds the two halves of a request's 64-bit seed, high word first. Unused bias entries have id V, which every
    scatter drops. `counts` is the number of times each token was sampled in this choice, without the prompt.
    """

    temperature: Array  # f32 [S]
    top_p: Array  # f32 [S]
    frequency: Array  # f32 [S]
    presence: Array  # f32 [S]
    seed: Array  # u32 [S, 2]
    choice: Array  # i32 [S]
    step: Array  # i32 [S], tokens sampled so far
    logprobs: Array  # bool [S]
    bias_ids: Array  # i32 [S, 1024]
    bias: Array  # f32 [S, 1024]
    counts: Array  # i32 [S, V]

    @staticmethod
    def zeros(slots: int, vocab: int) -> SamplingState:
        """Returns the state of `slots` empty slots. No two leaves share a buffer, so that all can be donated."""
        return SamplingState(
            temperature=jnp.zeros(slots, jnp.float32),
            top_p=jnp.zeros(slots, jnp.float32),
            frequency=jnp.zeros(slots, jnp.float32),
            presence=jnp.zeros(slots, jnp.float32),
            seed=jnp.zeros((slots, 2), jnp.uint32),
            choice=jnp.zeros(slots, jnp.int32),
            step=jnp.zeros(slots, jnp.int32),
            logprobs=jnp.zeros(slots, bool),
            bias_ids=jnp.full((slots, BIAS_ENTRIES), vocab, jnp.int32),
            bias=jnp.zeros((slots, BIAS_ENTRIES), jnp.float32),
            counts=jnp.zeros((slots, vocab), jnp.int32),
        )

    def take(self, rows: Array) -> SamplingState:
        """Returns the parameters of the slots `rows` i32 `[R]`; `counts` stays whole.

        Rows beyond S return some slot's.
        """
        small = {field.name: getattr(self, field.name) for field in fields(self) if field.name != "counts"}
        return replace(self, **{name: leaf.at[rows].get(mode="clip") for name, leaf in small.items()})

    def advance(self, rows: Array, tokens: Array) -> SamplingState:
        """Counts `tokens[R]` and one more step in the slots `rows[R]`. Rows beyond S are dropped."""
        counts = self.counts.at[rows, tokens].add(1, mode="drop")
        return replace(self, step=self.step.at[rows].add(1, mode="drop"), counts=counts)
