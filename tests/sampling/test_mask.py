"""Grammar masks: rows under one sample legal tokens only, other rows never notice."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from jaxchat.sampling.mask import TokenMask, mask_words
from jaxchat.sampling.sample import sample
from tests.sampling.test_sample import rows

V = 70  # not a multiple of the word


def token_mask(*allowed):
    """Builds a mask with a row for each argument: the allowed tokens, or None for no constraint."""
    bits = np.zeros((len(allowed), mask_words(V)), np.uint32)
    for row, tokens in enumerate(allowed):
        for token in tokens or ():
            bits[row, token // 32] |= np.uint32(1 << token % 32)
    return TokenMask(jnp.array([tokens is not None for tokens in allowed]), jnp.array(bits))


def draw(logits, state, allowed):
    run = jax.jit(lambda *args: sample(args[0], args[1], jnp.ones(len(logits), bool), V, token_mask=args[2]))
    return np.asarray(run(jnp.array(logits, jnp.float32), state, allowed).tokens)


def test_every_token_has_its_bit():
    np.testing.assert_array_equal(np.flatnonzero(token_mask([0, 31, 32, 69]).expand(V)[0]), [0, 31, 32, 69])


def test_only_legal_tokens_are_sampled_and_others_never_notice():
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 3, (60, V)).astype(np.float32)
    allowed = [None if row % 3 == 0 else list(rng.choice(V, row % 7 + 1, replace=False)) for row in range(60)]
    state = rows(60, V, temperature=[0, 1, 2] * 20, top_p=[1, 0.9, 0.5, 1] * 15, seed=rng.integers(0, 2**32, (60, 2)))
    masked, free = draw(logits, state, token_mask(*allowed)), draw(logits, state, token_mask(*[None] * 60))
    for row, tokens in enumerate(allowed):
        assert masked[row] == free[row] if tokens is None else masked[row] in tokens


def test_a_grammar_wins_over_bans_and_exclusive_choices():
    state = rows(3, V, temperature=[0.0] * 3, bias=[[(5, -100.0), (6, -100.0)], [(9, 100.0)], [(5, -100.0), (6, 1.0)]])
    tokens = draw(np.zeros((3, V)), state, token_mask([5, 6], [7], [5, 6]))
    assert tokens[0] in (5, 6) and tokens[1] == 7 and tokens[2] == 6


def test_a_row_that_a_processor_leaves_without_a_token_is_not_finite_beside_a_masked_row():
    def processor(mu, state):
        return jnp.where(jnp.arange(2)[:, None] == 0, -jnp.inf, mu)

    for second in (None, [7]):
        mask = token_mask(None, second)
        sampled = sample(
            jnp.zeros((2, V)), rows(2, V, temperature=[0.0] * 2), jnp.ones(2, bool), V, token_mask=mask,
            processors=(processor,),
        )  # fmt: skip
        assert sampled.finite.tolist() == [False, True]
