"""The sampler against the float64 oracle, and each row's independence of the others."""

from __future__ import annotations

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxchat.arithmetic import token_bits
from jaxchat.sampling.gumbel import gumbel, step_keys
from jaxchat.sampling.mask import expand_bits, mask_words
from jaxchat.sampling.sample import sample
from jaxchat.sampling.state import BIAS_ENTRIES, HistoryRows, SamplingState
from jaxchat.sampling.top_p import top_p_mask
from tests.sampling import oracle

V = 37
AT_ONCE = 20_000  # rows
run = jax.jit(sample, static_argnums=3)


def rows(count, vocab=V, **columns):
    """Returns a state of `count` rows with columns given as lists; `bias` is a list of lists of pairs."""
    state = SamplingState.zeros(count, vocab)
    state = replace(state, temperature=jnp.ones(count), top_p=jnp.ones(count))
    bias = columns.pop("bias", None)
    if bias:
        ids = np.full((count, BIAS_ENTRIES), vocab, np.int32)
        values = np.zeros((count, BIAS_ENTRIES), np.float32)
        for row, entries in enumerate(bias):
            for column, (token, value) in enumerate(entries):
                ids[row, column], values[row, column] = token, value
        state = replace(state, bias_ids=jnp.array(ids), bias=jnp.array(values))
    dtypes = {name: getattr(state, name).dtype for name in columns}
    return replace(state, **{name: jnp.array(value, dtypes[name]) for name, value in columns.items()})


def draw(logits, state, valid=None):
    logits = jnp.array(logits, jnp.float32)
    return run(logits, state, jnp.ones(len(logits), bool), valid or logits.shape[-1])


def frequencies(mu_row, count=20000, **columns):
    """Returns how often each token is sampled in `count` steps of one seed."""
    full = {name: [value] * AT_ONCE for name, value in columns.items()}
    result = np.zeros(len(mu_row), int)
    for first in range(0, count, AT_ONCE):  # more rows would take gigabytes
        state = rows(AT_ONCE, len(mu_row), step=range(first, first + AT_ONCE), seed=[[1, 2]] * AT_ONCE, **full)
        tokens = np.asarray(draw(np.tile(mu_row, (AT_ONCE, 1)), state).tokens)
        result += np.bincount(tokens, minlength=len(mu_row))
    return result


logits_rows = st.lists(st.floats(-20, 20, width=32), min_size=V, max_size=V).map(np.float32)
biases = st.dictionaries(
    st.integers(0, V - 1), st.sampled_from([-100.0, -99.5, -3.0, 0.5, 7.0, 99.5, 100.0]), max_size=6
)


@settings(deadline=None, max_examples=150)
@given(logits_rows, biases, st.lists(st.integers(0, 5), min_size=V, max_size=V), st.floats(-2, 2), st.floats(-2, 2))
def test_greedy_follows_the_oracle(logits, bias, counts, frequency, presence):
    state = rows(
        1,
        temperature=[0.0],
        frequency_penalty=[frequency],
        presence_penalty=[presence],
        counts=[counts],
        bias=[list(bias.items())],
    )
    token = int(draw([logits], state).tokens[0])
    mu = oracle.adjusted(logits, bias.items(), np.array(counts), np.float32(frequency), np.float32(presence))
    assert mu[token] >= mu.max() - 1e-3 and mu[token] > -np.inf


@settings(deadline=None, max_examples=150)
@given(logits_rows, st.one_of(st.floats(0, 1), st.sampled_from([0.0, 1e-6, 0.999999, 1.0])), st.floats(0.06, 2))
def test_the_nucleus_keeps_what_the_oracle_keeps(logits, top_p, temperature):
    z = logits / np.float32(temperature)
    got = np.asarray(top_p_mask(jnp.array([z]), jnp.array([top_p], jnp.float32)))[0]
    exact = z.astype(np.float64)  # at most 667 apart: beyond 745 the oracle's probabilities would be 0
    low, high = (oracle.kept(exact, 1.0, p)[0] for p in (top_p - 1e-5, top_p + 1e-5))
    tie_embeddings = 1e-6 * (1 + exact.max() - exact)  # f32 weights cannot tell such logits apart
    assert np.all(got[exact > exact[low].min() + tie_embeddings])
    assert np.all(exact[got] >= exact[high].min() - tie_embeddings[got])
    assert top_p >= 1 - 1e-5 or len(low) <= got.sum() <= len(high)


@pytest.mark.parametrize(("top_p", "count"), [(0.0, 1), (0.25, 1), (0.3, 2), (0.75, 3), (0.76, 4)])
def test_ties_in_the_nucleus_go_to_the_lower_id(top_p, count):
    mask = np.asarray(top_p_mask(jnp.zeros((1, 4)), jnp.array([top_p])))[0]
    assert list(np.flatnonzero(mask)) == list(range(count))


@pytest.mark.parametrize(("temperature", "top_p"), [(1.0, 1.0), (0.5, 0.9), (2.0, 0.6)])
def test_frequencies_follow_the_probabilities(temperature, top_p):
    logits = np.random.default_rng(5).normal(0, 2, V).astype(np.float32)
    seen = frequencies(logits, temperature=temperature, top_p=top_p)
    ids, p = oracle.kept(logits.astype(np.float64), temperature, top_p)
    assert seen.sum() == seen[ids].sum()
    expected = p * seen.sum()
    chi_square = ((seen[ids] - expected) ** 2 / expected).sum()
    assert chi_square < len(ids) + 5 * np.sqrt(2 * len(ids))


def test_rare_tokens_are_neither_lost_nor_favoured():
    seen = frequencies(np.array([0.0, np.log(1e-4)], np.float32), count=400_000)
    assert 15 <= seen[1] <= 70


def test_a_row_does_not_depend_on_its_neighbours():
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 3, (6, V)).astype(np.float32)
    mixed = rows(
        6,
        temperature=[0, 1, 0.7, 1, 2, 1],
        top_p=[1, 1, 0.5, 0.9, 1, 0],
        frequency_penalty=[0, 0, 1, 0, -1, 0],
        seed=rng.integers(0, 2**32, (6, 2)),
        logprobs=[0, 0, 1, 0, 0, 1],
        counts=rng.integers(0, 3, (6, V)),
        bias=[[], [(3, 100.0)], [(4, -100.0)], [], [(5, 2.0)], []],
    )
    together = draw(logits, mixed)
    for row in range(6):
        alone = draw(logits[row : row + 1], jax.tree.map(lambda leaf, row=row: leaf[row : row + 1], mixed))
        assert int(alone.tokens[0]) == int(together.tokens[row])


def test_noise_is_that_of_jax_random():
    seed = jnp.array([[7, 9]], jnp.uint32)
    keys = step_keys(seed, jnp.array([2]), jnp.array([5]))
    key = jax.random.fold_in(jax.random.fold_in(jax.random.wrap_key_data(seed[0], impl="threefry2x32"), 2), 5)
    bits = np.asarray(jax.random.bits(key, (V,), "uint32"), np.float64)
    expected = -np.log(-np.log1p(-(bits + 0.5) * 2.0**-32))
    np.testing.assert_allclose(gumbel(keys, jnp.arange(V)[None])[0], expected, rtol=2e-4, atol=2e-5)


def test_seeds_use_all_64_bits_and_choices_differ():
    flat = np.zeros((4, 4096), np.float32)
    state = rows(4, 4096, seed=[[0, 1], [1, 1], [0, 1], [0, 1]], choice=[0, 0, 1, 0], step=[0, 0, 0, 1])
    assert len(set(np.asarray(draw(flat, state).tokens).tolist())) == 4


def test_logprobs_are_those_of_the_raw_logits():
    logits = np.random.default_rng(2).normal(0, 4, (1, V)).astype(np.float32)
    state = rows(
        1, temperature=[0.3], logprobs=[True], bias=[[(11, 100.0)]], presence_penalty=[2.0], counts=np.ones((1, V))
    )
    got = draw(logits, state)
    expected = oracle.log_softmax(logits[0])
    order = np.lexsort((np.arange(V), -expected))[:20]
    assert int(got.tokens[0]) == 11
    np.testing.assert_allclose(got.logprobs.sampled[0], expected[11], atol=1e-5)
    np.testing.assert_array_equal(got.logprobs.top_ids[0], order)
    np.testing.assert_allclose(got.logprobs.top[0], expected[order], atol=1e-5)


def test_padding_is_never_sampled():
    logits = np.zeros((64, V), np.float32)
    logits[:, 30:] = 50.0
    state = rows(64, seed=np.random.default_rng(1).integers(0, 2**32, (64, 2)))
    assert int(np.max(draw(logits, state, valid=30).tokens)) < 30


def test_numbers_that_are_not_finite_are_reported_for_their_row_alone():
    logits = np.zeros((3, V), np.float32)
    logits[1, 4], logits[2, 4] = np.nan, np.inf
    assert np.asarray(draw(logits, rows(3)).finite).tolist() == [True, False, False]


def test_below_1e_5_a_temperature_is_greedy_also_among_equals():
    state = rows(64, temperature=[9e-6] * 32 + [1.1e-5] * 32, seed=[[0, seed] for seed in range(64)])
    tokens = np.asarray(draw(np.zeros((64, V)), state).tokens)
    assert not tokens[:32].any() and tokens[32:].any()


def test_a_bias_of_minus_100_bans_and_100_excludes_whatever_the_logit():
    """Plain addition would not: the logits are further apart than that."""
    logits = np.where(np.arange(V) == 3, 500.0, np.where(np.arange(V) == 4, 0.0, -500.0))
    bias = [[(3, -99.0)], [(3, -100.0)], [(5, 99.0)], [(5, 100.0)]]
    tokens = draw([logits] * 4, rows(4, temperature=[0.0] * 4, bias=bias)).tokens
    assert tokens.tolist() == [3, 4, 3, 5]


def test_bans_that_leave_nothing_are_dropped():
    state = rows(1, temperature=[0.0], bias=[[(token, -100.0) for token in range(V)]])
    assert 0 <= int(draw(np.zeros((1, V)), state).tokens[0]) < V


def test_processed_logprobs_are_those_of_the_distribution_drawn_from():
    logits = np.random.default_rng(4).normal(0, 3, (2, V)).astype(np.float32)
    bias, counts = [(5, 3.0), (6, -100.0)], np.random.default_rng(5).integers(0, 3, (2, V))
    both = {"frequency_penalty": [0.5] * 2, "presence_penalty": [0.25] * 2, "counts": counts, "bias": [bias] * 2}
    both |= {
        "repetition_penalty": [1.5] * 2,
        "prompt": [token_bits([1, 2], V)] * 2,
        "top_k": [9, 1],
        "min_p": [0.01] * 2,
    }
    state = rows(2, temperature=[0.7, 0.0], top_p=[0.8, 0.1], logprobs=[True] * 2, **both)
    got = jax.jit(sample, static_argnums=(3, 4))(jnp.array(logits), state, jnp.ones(2, bool), V, "processed")
    for row, limits in enumerate(((0.7, 0.8, 9, 0.01), (1.0, 1.0))):  # greedy rows report before temperature
        mu = oracle.adjusted(logits[row], bias, counts[row], 0.5, 0.25, 1.5, [1, 2])
        ids, p = oracle.kept(mu, *limits)
        reported = np.asarray(got.logprobs.top_ids[row])[: len(ids)]
        np.testing.assert_array_equal(reported, ids[:20])
        np.testing.assert_allclose(got.logprobs.top[row][: len(ids)], np.log(p[:20]), atol=1e-5)
        assert np.all(np.asarray(got.logprobs.top[row][len(ids) :]) == -np.inf)
        token = int(got.tokens[row])
        np.testing.assert_allclose(got.logprobs.sampled[row], np.log(p[list(ids).index(token)]), atol=1e-5)


def test_rows_may_name_the_histories_they_count_from():
    logits = np.random.default_rng(3).normal(0, 2, (2, V)).astype(np.float32)
    full = rows(
        5,
        counts=np.random.default_rng(6).integers(0, 3, (5, V)),
        prompt=np.random.default_rng(7).integers(0, 2**32, (5, mask_words(V)), np.uint32),
        presence_penalty=[2.0] * 5,
        repetition_penalty=[3.0] * 5,
        temperature=[0.0] * 5,
    )
    named = jnp.array([4, 1])
    drafts = np.array([[V, V], [5, 5]])  # the second row takes token 5 for sampled twice more
    here, history = full.take(named, jnp.array([0, 2])), HistoryRows(named, jnp.array(drafts))
    few = jax.jit(lambda x: sample(x, here, jnp.ones(2, bool), V, history=history))(jnp.array(logits))
    for row, slot in enumerate((4, 1)):
        prompt = np.flatnonzero(expand_bits(full.prompt, V)[slot])
        counts = np.asarray(full.counts[slot]) + np.bincount(drafts[row], minlength=V + 1)[:V]
        mu = oracle.adjusted(logits[row], (), counts, 0.0, 2.0, 3.0, prompt)
        assert int(few.tokens[row]) == int(mu.argmax())
