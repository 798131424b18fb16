"""Each row is sampled with the same bits among any number of rows, as the engine compiles its programs."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxchat.runtime.compile import options
from jaxchat.sampling.mask import mask_words
from jaxchat.sampling.sample import Sampled, sample
from jaxchat.sampling.state import SamplingState
from tests.sampling.test_sample import rows

ROWS, V = 16, 5000


@pytest.mark.bits
@pytest.mark.parametrize("report", ["raw", "processed"])
def test_the_number_of_rows_changes_no_bit(report: str) -> None:
    rng = np.random.default_rng(0)
    logits = jnp.asarray(rng.normal(size=(ROWS, V)) * np.linspace(0.1, 6, ROWS)[:, None], jnp.float32)
    state = rows(
        ROWS,
        V,
        temperature=[0, 1, 0.3, 2] * (ROWS // 4),
        top_p=rng.uniform(0.05, 1, ROWS),
        frequency_penalty=rng.uniform(-2, 2, ROWS),
        presence_penalty=rng.uniform(-2, 2, ROWS),
        repetition_penalty=rng.uniform(0.5, 2, ROWS),
        prompt=rng.integers(0, 2**32, (ROWS, mask_words(V)), np.uint32),
        top_k=rng.choice([1, 50, 400, V], ROWS),
        min_p=rng.choice([0, 0.001, 0.2], ROWS),
        seed=rng.integers(0, 2**32, (ROWS, 2), np.uint32),
        counts=rng.integers(0, 3, (ROWS, V)),
        logprobs=[True] * ROWS,
        bias=[[(7 * row, 3.5)] for row in range(ROWS)],
    )
    compiled = jax.jit(partial(sample, valid=V - 9, report=report), compiler_options=options("cpu"))
    full = compiled(logits, state, jnp.ones(ROWS, bool))
    for count in (1, 3, 8):
        for start in {0, 5, ROWS - count}:
            part = slice(start, start + count)
            actual = compiled(logits[part], taken(state, part), jnp.ones(count, bool))
            assert bits(actual) == bits(full, part), (count, start)


def taken(state: SamplingState, part: slice) -> SamplingState:
    return jax.tree.map(lambda leaf: leaf[part], state)


def bits(sampled: Sampled, part: slice = slice(None)) -> list[bytes]:
    return [np.asarray(leaf[part]).tobytes() for leaf in jax.tree.leaves(sampled)]
