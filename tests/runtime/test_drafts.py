"""Drafts in decode steps: rows that are accepted are the steps that the sequence would have taken without drafts."""

from __future__ import annotations

from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxchat.config import MAX_DRAFTS
from jaxchat.runtime.drafts import Drafts
from jaxchat.runtime.load import Loaded
from jaxchat.types import DecodeWork, SamplingParams, StepResult
from tests.runtime.test_runner import begin, load, pages_for

Groups = list[tuple[list[int], list[int]]]  # drafts and sampled tokens of each sequence


@st.composite
def groups(draw: st.DrawFn) -> Groups:
    token = st.integers(0, 1)
    counts = draw(st.lists(st.integers(0, 5), min_size=1, max_size=4))
    several = lambda count: draw(st.lists(token, min_size=count, max_size=count))  # noqa: E731
    return [(several(count), several(count + 1)) for count in counts]


@given(groups())
@settings(max_examples=60, deadline=None)
def test_rows_are_accepted_while_drafts_are_right(given: Groups) -> None:
    drafts = Drafts.of(jnp.array([token for guessed, _ in given for token in (-1, *guessed)], jnp.int32))
    sampled = np.array([token for _, tokens in given for token in tokens], np.int32)
    accepted = drafts.accepted(jnp.array(sampled))
    last = drafts.last_accepted(accepted)
    row = 0
    for guessed, tokens in given:
        right = next((i for i, token in enumerate(guessed) if token != tokens[i]), len(guessed))
        assert accepted[row : row + len(tokens)].tolist() == [i <= right for i in range(len(tokens))]
        assert last[row : row + len(tokens)].tolist() == [i == right for i in range(len(tokens))]
        for i in range(len(tokens)):
            before = drafts.before(99)[row + i].tolist()
            assert before == [*reversed(guessed[:i])] + [99] * (len(before) - i)
        row += len(tokens)


SAMPLINGS = (
    SamplingParams(temperature=0.0, logprobs=True),
    SamplingParams(seed=3, logprobs=True, frequency_penalty=1.5, repetition_penalty=1.3, top_p=0.9),
    SamplingParams(seed=4, logprobs=True, presence_penalty=-1.0, temperature=1.5, logit_bias=((7, 3.0),)),
)
COUNT = 20


def bits(step: StepResult, row: int) -> bytes:
    return b"".join(array[row].tobytes() for array in vars(step).values())


class Speculating:
    """Three sequences in slots 0, 2 and 3 of a runner, which decode with drafts that a test gives."""

    def __init__(self, loaded: Loaded) -> None:
        self._runner = loaded.runner
        self.tokens: list[list[int]] = []
        self.bits: list[list[bytes]] = []
        self.slots = 0, 2, 3
        for number, (slot, sampling) in enumerate(zip(self.slots, SAMPLINGS, strict=True)):
            prompt = np.random.default_rng(number).integers(0, 256, 10 + number).astype(np.int32)
            pages = pages_for(loaded, len(prompt) + COUNT + MAX_DRAFTS, 1 + 8 * number)
            self.tokens.append([begin(loaded, prompt, slot, pages, sampling)])
            self.bits.append([])

    def step(self, drafts: list[list[int]]) -> None:
        """Decodes all sequences, each with its drafts, in one step."""
        slots = [slot for slot, guessed in zip(self.slots, drafts, strict=True) for _ in range(1 + len(guessed))]
        rows = [token for guessed in drafts for token in (-1, *guessed)]
        nothing = np.full(len(slots), -1, np.int32)
        result = self._runner.decode(
            DecodeWork(np.array(slots, np.int32), nothing, drafts=np.array(rows, np.int32))
        ).wait()
        row = 0
        for number, guessed in enumerate(drafts):
            for i in range(1 + len(guessed)):
                if i and guessed[i - 1] != result.tokens[row + i - 1]:
                    break
                self.tokens[number].append(int(result.tokens[row + i]))
                self.bits[number].append(bits(result, row + i))
            row += 1 + len(guessed)


@pytest.fixture(scope="module")
def loaded(tiny_model: Path) -> Loaded:
    return load(tiny_model, slots=16, prefill_buckets=(32,), decode_buckets=(4, 16))


def test_right_wrong_and_half_right_drafts_give_the_same_bits(loaded: Loaded) -> None:
    plain = Speculating(loaded)
    for _ in range(COUNT):
        plain.step([[], [], []])
    rng, fast = np.random.default_rng(0), Speculating(loaded)
    steps = 0
    while min(map(len, fast.bits)) < COUNT:
        drafts = []
        for known, tokens in zip(plain.tokens, fast.tokens, strict=True):
            guessed = known[len(tokens) : len(tokens) + int(rng.integers(0, 5))]
            if guessed and rng.random() < 0.5:
                guessed[int(rng.integers(len(guessed)))] = 1  # wrong, or right by chance
            drafts.append(guessed)
        fast.step(drafts)
        steps += 1
    assert steps < COUNT - 5
    for number in range(len(SAMPLINGS)):
        assert fast.tokens[number][:COUNT] == plain.tokens[number][:COUNT]
        assert fast.bits[number][:COUNT] == plain.bits[number][:COUNT]
