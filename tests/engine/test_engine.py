"""Scheduling against a fake device: every request gets its own tokens, and all pages and slots are freed."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import pytest

from jaxchat.types import GenerateRequest, SamplingParams
from tests.engine.fake import PAGE
from tests.engine.harness import CHUNK, Harness, ask


def test_requests_of_all_lengths_get_their_own_tokens() -> None:
    harness = Harness()
    rng = random.Random(1)
    requests = {}
    for _ in range(60):
        request = ask(rng.randint(1, 150), rng.randint(1, 60), rng.choice([1, 1, 3]), rng.choice([None, 2, 7]))
        requests[harness.engine.submit(request)] = request
    actual = harness.gather(sum(request.choices for request in requests.values()))
    for (number, choice), events in actual.items():
        request = requests[number]
        first = int(request.prompt[-1]) + 1000 * choice
        expected = [first + step for step in range(request.max_tokens)]
        ends = [step for step, token in enumerate(expected) if token in request.stop_tokens]
        expected = expected[: ends[0] + 1] if ends else expected
        assert [event.token for event in events] == expected
        assert events[-1].finish == ("stop" if ends else "length")
        assert all(event.finish is None for event in events[:-1])
    harness.settle()


def test_pages_handed_to_the_device_cover_every_position_and_never_overlap() -> None:
    harness = Harness(slots=2)
    for length in (5, 40, 64):
        harness.engine.submit(ask(length, 50))
    harness.gather(3)
    harness.settle()
    for work in harness.runner.prefills:
        assert len(work.pages) * PAGE >= work.start + len(work.tokens)
        assert len(set(work.pages)) == len(work.pages) and 0 not in work.pages
        assert work.start % PAGE == 0


def test_choices_share_the_whole_chunks_of_their_prompt() -> None:
    harness = Harness()
    harness.engine.submit(ask(3 * CHUNK + 5, 4, choices=3))
    harness.gather(3)
    harness.settle()
    starts = [work.start for work in harness.runner.prefills]
    assert starts == [0, CHUNK, 2 * CHUNK, 3 * CHUNK, 3 * CHUNK, 3 * CHUNK]
    shared = {tuple(work.pages[:6]) for work in harness.runner.prefills if work.last}
    assert len(shared) == 1


def test_a_prompt_that_fills_its_chunks_still_computes_its_last_token() -> None:
    harness = Harness()
    for _ in range(2):
        harness.engine.submit(ask(2 * CHUNK, 2))
        harness.gather(1)
    harness.settle()
    assert [work.start for work in harness.runner.prefills] == [0, CHUNK, CHUNK]


def test_a_forgotten_prompt_is_computed_again() -> None:
    harness = Harness()
    for _ in range(2):
        harness.engine.forget_prefixes()
        harness.engine.submit(ask(2 * CHUNK + 1, 2))
        harness.gather(1)
    harness.settle()
    assert [work.start for work in harness.runner.prefills] == 2 * [0, CHUNK, 2 * CHUNK]


def test_more_choices_than_slots_run_in_waves() -> None:
    harness = Harness(slots=2)
    harness.engine.submit(ask(10, 5, choices=11))
    assert len(harness.gather(11)) == 11
    harness.settle()


@pytest.mark.parametrize("pages", [8, 11, 14])
def test_a_small_pool_swaps_sequences_out_but_loses_none(pages: int) -> None:
    harness = Harness(slots=3, pages=pages)
    rng = random.Random(pages)
    requests = {}
    for seed in range(25):
        request = ask(rng.randint(1, 50), rng.randint(1, 60), rng.choice([1, 1, 3]), seed=seed)
        requests[harness.engine.submit(request)] = request
    actual = harness.gather(sum(request.choices for request in requests.values()))
    for (number, choice), events in actual.items():
        first = int(requests[number].prompt[-1]) + 1000 * choice
        assert [event.token for event in events] == [first + step for step in range(requests[number].max_tokens)]
    assert harness.engine.stats.preemptions > 0
    harness.settle()


def test_sampling_parameters_reach_the_device_with_every_chunk() -> None:
    harness = Harness()
    sampling = SamplingParams(seed=2**63 + 5, logit_bias=((3, 1.5),))
    prompt = np.arange(70, dtype=np.int32)
    harness.engine.submit(GenerateRequest(prompt=prompt, max_tokens=1, choices=2, sampling=sampling))
    harness.gather(2)
    harness.settle()
    assert {work.choice for work in harness.runner.prefills} == {0, 1}
    assert all(work.sampling == sampling for work in harness.runner.prefills)


def test_the_prompt_reaches_the_device_where_it_is_penalised() -> None:
    harness = Harness()
    sampling = SamplingParams(repetition_penalty=1.2)
    request = replace(ask(70, 1), sampling=sampling)
    for _ in range(2):  # the second time from the prefix cache
        harness.gather_one(request)
    harness.gather_one(ask(70, 1))
    penalised = [work for work in harness.runner.prefills if work.sampling == sampling]
    assert [work.last for work in penalised] == [False, False, True, True]
    for work in harness.runner.prefills:
        assert (work.prompt is not None) == (work.last and work.sampling == sampling)
        assert work.prompt is None or np.array_equal(work.prompt, request.prompt)
    harness.settle()
