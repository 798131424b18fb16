"""A request's parameters on their way into a slot: every one arrives, with the bits that it was given."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import jax
import numpy as np
import pytest

from jaxchat.runtime.packing import PackedLayout
from jaxchat.sampling.mask import expand_bits
from jaxchat.sampling.state import HistoryRows, SamplingState
from jaxchat.types import SamplingParams

VOCAB = 50
PARAMS = SamplingParams(
    temperature=0.1,
    top_p=0.3,
    frequency_penalty=-2,
    presence_penalty=1.7,
    repetition_penalty=1.3,
    top_k=40,
    min_p=0.05,
    seed=2**64 - 2,
    logprobs=True,
    logit_bias=((7, -100.0), (2, 0.1)),
)


def started(params: SamplingParams, choice: int = 0, prompt: np.ndarray | None = None) -> SamplingState:
    """The state of a slot, through a packed buffer."""
    fields = SamplingState.packed_fields(VOCAB)
    layout = PackedLayout(tuple((name, (1, *shape), dtype) for name, shape, dtype in fields))
    packed = layout.pack(**SamplingState.packed_values(params, choice, VOCAB, prompt))
    return jax.jit(lambda buffer: SamplingState.started(layout.unpack(buffer), VOCAB))(packed)


def test_a_slot_has_the_parameters_of_its_request() -> None:
    state = started(PARAMS, choice=3)
    for name in ("temperature", "top_p", "min_p", "frequency_penalty", "presence_penalty", "repetition_penalty"):
        assert getattr(state, name) == np.float32(getattr(PARAMS, name))
    assert state.seed.tolist() == [[2**32 - 1, 2**32 - 2]]
    assert (state.choice.tolist(), state.logprobs.tolist()) == ([3], [True])
    assert state.bias_ids[0, :3].tolist() == [7, 2, VOCAB] and (state.bias_ids[0, 2:] == VOCAB).all()
    np.testing.assert_array_equal(state.bias[0, :3], np.array([-100.0, 0.1, 0.0], np.float32))
    assert state.step.tolist() == [0] and not state.counts.any() and not state.prompt.any()


@pytest.mark.parametrize(("top_k", "expected"), [(-1, VOCAB), (0, VOCAB), (1, 1), (49, 49), (50, 50), (51, VOCAB)])
def test_top_k_is_the_vocabulary_where_it_keeps_all(top_k: int, expected: int) -> None:
    assert started(SamplingParams(top_k=top_k)).top_k.tolist() == [expected]


def test_a_slot_knows_the_tokens_of_its_prompt() -> None:
    state = started(PARAMS, prompt=np.array([3, 31, 32, 49, 3, 0], np.int32))
    assert np.flatnonzero(expand_bits(state.prompt, VOCAB)[0]).tolist() == [0, 3, 31, 32, 49]


def test_wide_columns_are_taken_by_row() -> None:
    rows = np.array([2, 0])
    state = SamplingState.zeros(3, VOCAB)
    state = replace(state, counts=state.counts.at[2, 5].set(7), prompt=state.prompt.at[0, 1].set(9))
    drafts = np.array([[5, 1], [VOCAB, VOCAB]])
    wide, small = state.take_wide(HistoryRows(rows, drafts)), state.take(rows, np.array([2, 0]))
    assert wide.counts[:, 5].tolist() == [8, 0] and wide.counts.sum(axis=1).tolist() == [9, 0]
    assert wide.prompt[:, 1].tolist() == [0, 9] and small.step.tolist() == [2, 0]
    assert small.counts.shape == (3, VOCAB) and len(small.prompt) == 3 and small.top_k.shape == (2,)


@pytest.mark.parametrize("name", [field.name for field in fields(SamplingParams)])
def test_every_parameter_reaches_the_slot(name: str) -> None:
    changed: Any = replace(SamplingParams(), **{name: getattr(PARAMS, name)})
    leaves = (jax.tree.leaves(started(params)) for params in (SamplingParams(), changed))
    assert any(not np.array_equal(one, other) for one, other in zip(*leaves, strict=True))


def test_a_started_slot_has_the_form_of_an_empty_one() -> None:
    jax.tree.map(
        lambda one, other: np.testing.assert_equal((one.shape, one.dtype), (other.shape, other.dtype)),
        started(PARAMS),
        SamplingState.zeros(1, VOCAB),
    )


def test_a_layout_in_which_two_arrays_have_one_name_is_refused() -> None:
    with pytest.raises(ValueError, match="two arrays have one name"):
        PackedLayout((("a", (), "int32"), ("a", (2,), "int32")))
