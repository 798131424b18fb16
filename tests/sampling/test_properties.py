"""Random rows with every feature at its bounds, over awkward vocabularies: each token is one the oracle allows."""

from __future__ import annotations

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxchat.arithmetic import token_bits
from jaxchat.sampling.sample import sample
from jaxchat.sampling.state import BIAS_ENTRIES
from tests.sampling import oracle
from tests.sampling.test_sample import rows

VOCABULARIES = (1, 2, 129, 1031)
ROWS = 6
run = jax.jit(sample, static_argnums=3)


@dataclass(frozen=True)
class Row:
    """One row's settings, as plain values."""

    logits: np.ndarray
    counts: np.ndarray
    bias: list[tuple[int, float]]
    temperature: float
    top_p: float
    frequency: float
    presence: float
    repetition: float
    prompt: list[int]
    top_k: int
    min_p: float
    seed: int


def random_row(rng: np.random.Generator, vocab: int) -> Row:
    """Returns peaked, flat, tied or partly masked logits, long histories, and up to 1,024 biases of every size."""
    scale = rng.choice([0.0, 0.01, 1.0, 8.0, 40.0])
    logits = rng.normal(0, scale, vocab)
    if rng.random() < 0.3:
        logits = np.round(logits)
    if rng.random() < 0.2:
        logits[rng.random(vocab) < 0.9] = -np.inf
        logits[rng.integers(vocab)] = 0.0
    size = min(int(rng.choice([0, 0, 1, 5, BIAS_ENTRIES])), vocab)
    values = rng.choice([-100, -99.99, -7, 0, 0.5, 12, 99.99, 100], size, p=[0.3, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1])
    return Row(
        logits=logits.astype(np.float32),
        counts=rng.choice([0, 0, 1, 3, 4000], vocab),
        bias=[(int(token), float(value)) for token, value in zip(rng.permutation(vocab)[:size], values, strict=True)],
        temperature=float(rng.choice([0, 1e-6, 0.1, 0.7, 1, 2])),
        top_p=float(rng.choice([0, 1e-6, 0.1, 0.5, 0.9, 0.999, 1])),
        frequency=float(rng.choice([0, -2, 2, 0.3])),
        presence=float(rng.choice([0, -2, 2, 0.3])),
        repetition=float(rng.choice([1, 1, 0.01, 0.7, 1.2, 100])),
        prompt=rng.integers(0, vocab, rng.choice([1, 100])).tolist(),
        top_k=int(rng.choice([0, 0, 1, 2, 128, 129, 500, 5000])),
        min_p=float(rng.choice([0, 0, 1e-9, 0.01, 0.5, 1])),
        seed=int(rng.integers(2**63)),
    )


def state_of(actual: list[Row], vocab: int):
    return rows(
        len(actual),
        vocab,
        temperature=[row.temperature for row in actual],
        top_p=[row.top_p for row in actual],
        frequency_penalty=[row.frequency for row in actual],
        presence_penalty=[row.presence for row in actual],
        repetition_penalty=[row.repetition for row in actual],
        prompt=[token_bits(row.prompt, vocab) for row in actual],
        top_k=[min(row.top_k or vocab, vocab) for row in actual],
        min_p=[row.min_p for row in actual],
        seed=[[row.seed >> 32, row.seed & 0xFFFFFFFF] for row in actual],
        counts=[row.counts for row in actual],
        bias=[row.bias for row in actual],
    )


def allowed(row: Row) -> set[int]:
    """Returns the tokens that may be sampled, with tolerance for f32 rounding at ties and at the edge of the
    nucleus.
    """
    frequency, presence = float(np.float32(row.frequency)), float(np.float32(row.presence))
    repetition = float(np.float32(row.repetition))
    mu = oracle.adjusted(row.logits, row.bias, row.counts, frequency, presence, repetition, row.prompt)
    tolerance = 1e-5 * max(1.0, float(np.abs(mu[mu > -np.inf]).max()))
    if row.temperature < 1e-5:
        return set(np.flatnonzero(mu >= mu.max() - tolerance))
    ids, _ = oracle.kept(mu, row.temperature, min(1.0, row.top_p + 1e-5), row.top_k, row.min_p * (1 - 1e-5))
    least = mu[ids].min() if len(ids) else 0.0
    return set(ids) | set(np.flatnonzero(mu >= least - tolerance))


@pytest.mark.parametrize("vocab", VOCABULARIES)
@settings(deadline=None, max_examples=40)
@given(st.integers(0, 2**32 - 1))
def test_every_token_is_one_the_oracle_allows(vocab, number):
    rng = np.random.default_rng([number, vocab])
    actual = [random_row(rng, vocab) for _ in range(ROWS)]
    sampled = run(jnp.array([row.logits for row in actual]), state_of(actual, vocab), jnp.ones(ROWS, bool), vocab)
    for row, token, finite in zip(actual, np.asarray(sampled.tokens), np.asarray(sampled.finite), strict=True):
        assert finite and int(token) in allowed(row)


@pytest.mark.parametrize("vocab", VOCABULARIES)
@settings(deadline=None, max_examples=15)
@given(st.integers(0, 2**32 - 1))
def test_a_row_is_the_same_whatever_its_neighbours_ask_for(vocab, number):
    rng = np.random.default_rng([number, vocab, 1])
    kept = random_row(rng, vocab)
    tokens = []
    for _ in range(4):
        actual = [random_row(rng, vocab) for _ in range(ROWS)]
        place = int(rng.integers(ROWS))
        actual[place] = kept
        if rng.random() < 0.3:
            other = (place + 1) % ROWS
            actual[other].logits[:] = np.nan
        sampled = run(jnp.array([row.logits for row in actual]), state_of(actual, vocab), jnp.ones(ROWS, bool), vocab)
        tokens.append(int(sampled.tokens[place]))
        assert bool(sampled.finite[place])
    assert len(set(tokens)) == 1
