"""Both ways of drawing follow the probabilities, and which one a row takes is its own affair."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxchat.sampling import categorical as module
from jaxchat.sampling.categorical import CANDIDATES, categorical
from jaxchat.sampling.gumbel import step_keys
from jaxchat.sampling.top_p import Ranking, top_p_mask
from jaxchat.sampling.truncation import Truncation
from tests.exhaustive import mostly_exhaustive
from tests.sampling import oracle

VOCAB = 20_000  # more groups than candidates
draw = jax.jit(categorical)


def limits(top_p, top_k=0, min_p=0.0, *, vocab=VOCAB):
    """Returns the truncation of `len(top_p)` rows; `top_k` and `min_p` are of each row or of all."""
    count = len(top_p)
    ranks = np.broadcast_to(np.where(np.asarray(top_k) > 0, np.minimum(top_k, vocab), vocab), count)
    return Truncation(
        jnp.array(ranks, jnp.int32),
        jnp.array(top_p, jnp.float32),
        jnp.array(np.broadcast_to(min_p, count), jnp.float32),
    )


def tokens(logits, top_p, count, seed=(1, 2), sampled_rows=True, **more):
    """Samples `count` tokens from one row of logits, each with a separate key."""
    keys = step_keys(jnp.tile(jnp.array(seed, jnp.uint32), (count, 1)), jnp.zeros(count, jnp.int32), jnp.arange(count))
    z = jnp.broadcast_to(jnp.array(logits, jnp.float32), (count, len(logits)))
    truncation = limits([top_p] * count, vocab=len(logits), **more)
    return np.asarray(draw(z, truncation, keys, jnp.full(count, sampled_rows)))


def chi_square(logits, top_p, count, **more):
    """Returns chi-square of the frequencies over bins of at least five expected samples, and its degrees of freedom."""
    seen = np.bincount(np.concatenate([tokens(logits, top_p, 500, (i, 7), **more) for i in range(count // 500)]))
    ids, p = oracle.kept(np.asarray(logits, np.float64), 1.0, top_p, **more)
    assert set(np.flatnonzero(seen)) <= set(ids)
    observed, expected = np.append(seen, np.zeros(len(logits) - len(seen)))[ids], p * count
    bins = np.minimum(np.arange(len(ids)), int((expected >= 5).sum()))  # rare tokens share the last bin
    observed, expected = np.bincount(bins, observed), np.bincount(bins, expected)
    return ((observed - expected) ** 2 / expected).sum(), len(expected) - 1


def peaked(seed=0, vocab=VOCAB):
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 1, vocab)
    logits[rng.choice(vocab, 40, replace=False)] += np.linspace(14, 4, 40)
    return logits.astype(np.float32)


WAYS = [(1.0, 1.0), (0.9, 1.0), (0.5, 1.0), (0.95, 0.2), (0.2, 0.2), (1.0, 0.2)]


@pytest.mark.parametrize(("top_p", "scale"), mostly_exhaustive(WAYS, [(1.0, 1.0), (0.9, 1.0), (0.95, 0.2)]))
def test_frequencies_follow_the_probabilities(top_p, scale):
    statistic, freedom = chi_square(peaked() * np.float32(scale), top_p, 10_000)
    assert statistic < freedom + 5 * np.sqrt(2 * freedom)


def test_both_ways_are_taken():
    """Asserts that the cases above cover a nucleus inside the candidates and one beyond them."""
    z = jnp.array([peaked(), peaked() * 0.2])
    keys = step_keys(jnp.zeros((2, 2), jnp.uint32), jnp.zeros(2, jnp.int32), jnp.zeros(2, jnp.int32))
    _, complete = module._from_candidates(z, limits([0.9, 0.95]), keys)
    assert complete.tolist() == [True, False]


CUTS = [
    (1.0, 1.0, {"top_k": 3}),
    (0.9, 0.2, {"top_k": CANDIDATES}),
    (1.0, 0.2, {"top_k": 1000}),
    (0.5, 0.2, {"top_k": 1000}),
    (1.0, 1.0, {"min_p": 0.05}),
    (1.0, 0.2, {"min_p": 0.06}),
    (0.9, 0.2, {"min_p": 0.06}),
    (0.8, 0.2, {"top_k": 1500, "min_p": 0.06}),
]
SMALL = 2000


@pytest.mark.parametrize(("top_p", "scale", "cut"), CUTS)
def test_frequencies_follow_the_truncated_probabilities(top_p, scale, cut):
    statistic, freedom = chi_square(peaked(vocab=SMALL) * np.float32(scale), top_p, 3_000, **cut)
    assert statistic < freedom + 5 * np.sqrt(2 * freedom)


def test_both_ways_are_taken_by_truncated_rows_too():
    z = jnp.array([peaked(vocab=SMALL) * np.float32(scale) for _, scale, _ in CUTS])
    cuts = [{"top_k": 0, "min_p": 0.0} | cut for _, _, cut in CUTS]
    ranks, fractions = ([cut[name] for cut in cuts] for name in ("top_k", "min_p"))
    truncation = limits([top_p for top_p, _, _ in CUTS], ranks, fractions, vocab=SMALL)
    keys = step_keys(*(jnp.zeros((len(CUTS), *shape), jnp.int32) for shape in ((2,), (), ())))
    _, complete = module._from_candidates(z, truncation, keys)
    assert complete.tolist() == [True, True, False, False, True, False, False, False]


def test_rows_whose_tries_all_miss_follow_the_probabilities_too(monkeypatch):
    monkeypatch.setattr(module, "TRIES", 1)
    statistic, freedom = chi_square(peaked() * np.float32(0.2), 0.3, 10_000)
    assert statistic < freedom + 5 * np.sqrt(2 * freedom)


@pytest.mark.parametrize("top_p", [0.0, 0.3, 0.9, 0.9999])
def test_one_token_is_inside_where_the_whole_nucleus_has_it(top_p):
    z = np.round(np.random.default_rng(4).normal(0, 2, (3, 700)), 1).astype(np.float32)  # many ties
    z[1, 5:] = -np.inf
    p = jnp.full(3, top_p, jnp.float32)
    full = np.asarray(top_p_mask(z, p))
    ranking = Ranking.of(z, p)
    everything = p, jnp.zeros(3)
    actual = np.stack([ranking.inside(jnp.full(3, token), *everything) for token in range(z.shape[1])], axis=1)
    possible = np.isfinite(z)
    np.testing.assert_array_equal(actual[possible], full[possible])


def test_a_nucleus_of_exactly_the_candidates_is_drawn_from_them():
    logits = np.full(VOCAB, -100.0, np.float32)
    logits[:CANDIDATES] = 0.0
    assert set(tokens(logits, 0.999, 3000)) == set(range(CANDIDATES))


def test_a_row_draws_the_same_beside_rows_of_every_kind():
    rng = np.random.default_rng(3)
    z = np.stack([peaked(i) * scale for i, scale in enumerate([1, 0.2, 1, 0.1, 0.1, 1])]).astype(np.float32)
    truncation = limits([0.9, 0.95, 1.0, 1.0, 0.9, 0.7], [0, 0, 0, 7, 900, 0], [0, 0, 0.02, 0, 0, 0.5])
    seed, choice, step = rng.integers(0, 2**32, (6, 2)), rng.integers(0, 9, 6), rng.integers(0, 99, 6)
    keys = step_keys(jnp.array(seed, jnp.uint32), jnp.array(choice, jnp.int32), jnp.array(step, jnp.int32))
    every = np.asarray(draw(z, truncation, keys, np.ones(6, bool)))
    for chosen in range(1, 64):
        mask = np.array([chosen >> row & 1 for row in range(6)], bool)
        np.testing.assert_array_equal(np.asarray(draw(z, truncation, keys, mask))[mask], every[mask])


def test_masked_tokens_are_never_drawn():
    logits = np.full(VOCAB, -np.inf, np.float32)
    logits[[5, 19_999]] = [0.0, 1.0]
    for top_p in (0.99, 1.0):
        assert set(tokens(logits, top_p, 300)) == {5, 19_999}


def test_rare_tokens_come_as_often_as_they_should():
    logits = np.array([0.0, np.log(2e-4), np.log(1e-6)], np.float32)
    seen = np.bincount(np.concatenate([tokens(logits, 1.0, 20_000, (i, 3)) for i in range(10)]), minlength=3)
    assert 15 <= seen[1] <= 75 and seen[2] <= 4  # expected 40 and 0.2; outside with a probability below 1e-4
