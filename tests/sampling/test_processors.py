"""Logits processors: where in the order they act, what they cannot undo, and what identifies them."""

from __future__ import annotations

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxchat.registry import RegistryError
from jaxchat.sampling.processors import LogitsProcessor, find_processors, register_logits_processor
from jaxchat.sampling.sample import Sampled, sample
from jaxchat.sampling.state import HistoryRows
from tests.sampling.test_mask import token_mask
from tests.sampling.test_sample import rows

V, VALID = 70, 60


@dataclass(frozen=True)
class Add:
    """Adds a number to one token's logit."""

    token: int
    value: float

    def __call__(self, logits, state):
        return logits.at[:, self.token].add(self.value)


def never_twice(logits, state):
    return jnp.where(state.counts > 0, -jnp.inf, logits)


def greedy(logits, *processes, allowed=None, report="raw", **settings) -> Sampled:
    """Samples rows of temperature 0, unless `settings` has another."""
    state = rows(len(logits), V, **{"temperature": [0.0] * len(logits), **settings})
    processors = tuple(LogitsProcessor("tested", process) for process in processes)

    def step(logits):
        active = jnp.ones(len(logits), bool)
        return sample(logits, state, active, VALID, report, token_mask=allowed, processors=processors)

    return jax.jit(step)(jnp.asarray(logits, jnp.float32))


def test_processors_act_in_their_order():
    def doubled(logits, state):
        return logits * 2

    logits = np.zeros((1, V))
    logits[0, 3] = 1.5
    assert greedy(logits, Add(7, 1.0), doubled).tokens[0] == 3
    assert greedy(logits, doubled, Add(7, 4.0)).tokens[0] == 7


def test_bias_and_penalties_come_before():
    logits = np.zeros((2, V))
    seen = np.zeros((2, V), np.int32)
    seen[:, 3] = 1

    def sign(logits, state):
        return jnp.sign(logits) * jnp.arange(V)

    actual = greedy(logits, sign, bias=[[(5, 0.5)], []], frequency_penalty=[0.0, -1.0], counts=seen)
    assert list(actual.tokens) == [5, 3]


def test_bans_exclusive_choices_and_grammars_have_the_last_word():
    logits = np.zeros((3, V))
    bias = [[(7, -100.0)], [(8, 100.0)], []]
    allowed = token_mask(None, None, [9, 10])
    actual = greedy(logits, Add(7, 1000.0), bias=bias, allowed=allowed).tokens
    assert actual[0] != 7 and actual[1] == 8 and actual[2] in (9, 10)


def test_a_grammar_wins_over_a_processor_that_forbids_all_it_allows():
    def only_first(logits, state):
        return jnp.where(jnp.arange(V) == 0, logits, -jnp.inf)

    actual = greedy(np.zeros((1, V)), only_first, allowed=token_mask([9]))
    assert actual.tokens[0] == 9 and actual.finite[0]


def test_padding_is_no_token_whatever_a_processor_does():
    assert greedy(np.zeros((1, V)), Add(VALID + 2, 5.0)).tokens[0] < VALID


def test_each_row_sees_its_own_history():
    logits = np.tile(np.linspace(1, 0, V), (2, 1))
    counts = np.zeros((4, V), np.int32)
    counts[2, 0], counts[3, :2] = 1, 1
    state, named = rows(4, V, temperature=[0.0] * 4, counts=counts), jnp.array([3, 2])
    processors = (LogitsProcessor("tested", never_twice),)

    def chosen(*drafts: list[int]) -> list[int]:
        here, history = state.take(named, jnp.zeros(2, jnp.int32)), HistoryRows(named, jnp.array(drafts))
        step = jax.jit(lambda x: sample(x, here, jnp.ones(2, bool), VALID, history=history, processors=processors))
        return step(jnp.asarray(logits, jnp.float32)).tokens.tolist()

    assert chosen([V, V], [V, V]) == [2, 1]
    assert chosen([2, V], [2, 1]) == [3, 3]


def test_a_row_left_without_a_token_fails_alone():
    def breaks_the_second(logits, state):
        return logits.at[1].set(jnp.nan)

    def empties_the_second(logits, state):
        return logits.at[1].set(-jnp.inf)

    for process in (breaks_the_second, empties_the_second):
        assert list(greedy(np.zeros((3, V)), process).finite) == [True, False, True]


def test_raw_logprobs_are_those_of_the_model_and_processed_ones_of_the_processor():
    logits = np.zeros((1, V))
    raw, processed = (
        greedy(logits, Add(7, 3.0), report=report, logprobs=[True]).logprobs.sampled[0]
        for report in ("raw", "processed")
    )
    np.testing.assert_allclose(raw, -np.log(VALID), rtol=1e-5)
    np.testing.assert_allclose(processed, 3 - np.log(VALID - 1 + np.exp(3)), rtol=1e-5)


def test_a_processor_must_keep_shape_and_dtype():
    with pytest.raises(ValueError, match=r"'tested' must return float32 \[1, 70\], got float32 \[1, 69\]"):
        greedy(np.zeros((1, V)), lambda logits, state: logits[:, 1:])


def test_what_identifies_a_processor_tells_it_from_others():
    identities = {LogitsProcessor("a", process).identity for process in (Add(1, 2.0), Add(1, 3.0), never_twice)}
    assert identities == {
        "a=Add(token=1, value=2.0)",
        "a=Add(token=1, value=3.0)",
        "a=tests.sampling.test_processors.never_twice",
    }


def test_a_processor_that_cannot_be_identified_is_refused():
    scale = 2.0
    register_logits_processor("test-closure", lambda logits, state: logits * scale)
    with pytest.raises(ValueError, match="'test-closure' must be a function of a module or a frozen dataclass"):
        find_processors(["test-closure"])
    with pytest.raises(RegistryError, match="unknown logits processor 'test-closed', did you mean 'test-closure'"):
        find_processors(["test-closed"])
