"""Truncation against transformers' warpers, which take logits after temperature, and against the float64 oracle."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import (
    LogitsProcessorList,
    MinPLogitsWarper,
    RepetitionPenaltyLogitsProcessor,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from jaxchat.arithmetic import token_bits
from jaxchat.sampling.logits import apply_penalties
from jaxchat.sampling.truncation import Truncation
from tests.sampling import oracle
from tests.sampling.test_sample import rows

V = 200  # more than the candidates of the quick way
apply = jax.jit(lambda z, limits: limits.apply(z))
penalise = jax.jit(apply_penalties)


def kept(z: np.ndarray, top_k: int = V, top_p: float = 1.0, min_p: float = 0.0) -> np.ndarray:
    """Returns the ids that one row keeps, in ascending order."""
    limits = Truncation(jnp.array([top_k]), jnp.array([top_p], jnp.float32), jnp.array([min_p], jnp.float32))
    return np.flatnonzero(np.asarray(apply(jnp.asarray(z, jnp.float32)[None], limits))[0] > -np.inf)


@settings(deadline=None, max_examples=60)
@given(
    st.integers(0, 2**32 - 1),
    st.sampled_from([1, 3, 50, 150, V]),
    st.sampled_from([0.05, 0.5, 0.9, 1.0]),
    st.sampled_from([0.0, 0.01, 0.3, 1.0]),
)
def test_the_kept_tokens_are_those_of_transformers(seed, top_k, top_p, min_p):
    z = np.random.default_rng(seed).normal(0, 2, V).astype(np.float32)
    warpers = LogitsProcessorList([TopKLogitsWarper(top_k)])
    if top_p < 1:
        warpers.append(TopPLogitsWarper(top_p))
    if min_p > 0:
        warpers.append(MinPLogitsWarper(min_p))
    scores = warpers(torch.zeros((1, 1), dtype=torch.long), torch.from_numpy(z)[None])[0].numpy()
    expected = np.flatnonzero(np.isfinite(scores))
    low, high = (oracle.kept(np.float64(z), 1.0, top_p + by, top_k, min_p)[0] for by in (-1e-5, 1e-5))
    assert list(kept(z, top_k, top_p, min_p)) == list(expected) or not np.array_equal(low, high)


@pytest.mark.parametrize(("limits", "count"), [((130,), 130), ((7, 0.5), 4), ((V, 1.0, 1.0), V), ((V, 0.5), 100)])
def test_ties_go_to_the_lower_ids(limits, count):
    assert list(kept(np.zeros(V), *limits)) == list(range(count))


def test_top_p_counts_the_probabilities_that_top_k_leaves():
    z = np.log(np.array([0.3, 0.2, 0.1] + [0.4 / (V - 3)] * (V - 3)))
    assert list(kept(z, 3, 0.45)) == [0] and list(kept(z, V, 0.45)) == [0, 1]


def test_min_p_is_relative_to_the_likeliest_and_does_not_change_the_nucleus():
    z = np.log(np.array([0.5, 0.2, 0.1] + [0.2 / (V - 3)] * (V - 3)))
    assert list(kept(z, min_p=0.39)) == [0, 1] and list(kept(z, min_p=0.41)) == [0]
    assert list(kept(z, top_p=0.75, min_p=0.15)) == [0, 1, 2]


def test_rows_without_limits_keep_their_bits_beside_others():
    z = jnp.asarray(np.random.default_rng(0).normal(size=(3, V)), jnp.float32)
    limits = Truncation(jnp.array([V, 2, V]), jnp.array([1.0, 1.0, 0.5]), jnp.array([0.0, 0.0, 0.2]))
    np.testing.assert_array_equal(apply(z, limits)[0], z[0])


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 2**32 - 1), st.sampled_from([0.01, 0.8, 1.0, 1.3, 100.0]))
def test_the_repetition_penalty_is_that_of_transformers(seed, penalty):
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 5, V).astype(np.float32)
    logits[rng.integers(V)] = 0.0
    prompt, answer = rng.integers(0, V, 30), rng.integers(0, V, rng.integers(20))
    processor = RepetitionPenaltyLogitsProcessor(penalty)
    ids = torch.from_numpy(np.concatenate([prompt, answer]))[None]
    expected = processor(ids, torch.from_numpy(logits)[None])[0].numpy()
    state = rows(
        1,
        V,
        repetition_penalty=[penalty],
        prompt=[token_bits(prompt, V)],
        counts=[np.bincount(answer, minlength=V)],
    )
    np.testing.assert_allclose(penalise(jnp.array([logits]), state)[0], expected, rtol=1e-6)
