"""The search in groups against a full sort, and group masses against sums in float64."""

from __future__ import annotations

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxchat.sampling.topk import GROUP, kth_largest, log_masses, top_k

search = jax.jit(top_k, static_argnums=1)
select = jax.jit(kth_largest)


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 2**32 - 1), st.sampled_from([1, 37, 128, 129, 3000, 20_001]), st.sampled_from([1, 5, 20]))
def test_the_largest_come_in_order_and_ties_by_id(seed, vocab, k):
    rng = np.random.default_rng(seed)
    x = rng.integers(-5, 6, (3, vocab)).astype(np.float32)  # full of ties
    x[0] = rng.normal(size=vocab)
    x[2, rng.random(vocab) < 0.5] = -np.inf
    k = min(k, vocab)
    values, ids = search(x, k)
    for row in range(3):
        expected = np.lexsort((np.arange(vocab), -x[row]))[:k]
        np.testing.assert_array_equal(values[row], x[row][expected])
        real = x[row][expected] > -np.inf
        np.testing.assert_array_equal(np.asarray(ids[row])[real], expected[real])


@pytest.mark.parametrize("vocab", [5, GROUP, 1000])
def test_masses_are_those_of_the_groups(vocab):
    x = np.random.default_rng(vocab).normal(0, 5, (2, vocab)).astype(np.float32)
    masses = np.asarray(log_masses(x), np.float64)
    for row in range(2):
        weights = np.exp(x[row].astype(np.float64) - x[row].max())
        expected = [weights[start : start + GROUP].sum() for start in range(0, vocab, GROUP)]
        np.testing.assert_allclose(np.exp(masses[row]), expected, rtol=1e-5)


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 2**32 - 1), st.sampled_from([1, 37, 128, 3000]))
def test_the_kth_largest_is_that_of_a_stable_sort(seed, vocab):
    rng = np.random.default_rng(seed)
    x = rng.integers(-2, 3, (4, vocab)).astype(np.float32) * np.float32(rng.choice([-0.0, 1.0, 1e-30, 1e38]))
    x[0] = rng.normal(size=vocab)
    x[1, rng.random(vocab) < 0.5] = -np.inf
    k = rng.integers(1, vocab + 1, 4)
    value, last = select(x, k.astype(np.int32))
    for row in range(4):
        expected = np.lexsort((np.arange(vocab), -x[row]))[k[row] - 1]
        assert (value[row, 0], last[row, 0]) == (x[row, expected], expected)
