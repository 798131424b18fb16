"""Drafts: they save steps, and neither they nor swaps, cancellations or grammars between them change an answer."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxchat.engine.speculation import Speculation
from jaxchat.engine.step_times import StepTimes
from jaxchat.types import GenerateRequest
from tests.engine.harness import Harness
from tests.engine.test_engine_masks import Counting


class Untimed(StepTimes):
    """Times that make every program look equally fast, so that all free rows get drafts."""

    def took(self, rows: int, awaited: bool, seconds: float) -> None:
        return


def speculating(max_drafts: int = 15, slots: int = 8, **more: Any) -> Harness:
    """An engine that drafts wherever it can."""
    harness = Harness(slots=slots, max_drafts=max_drafts, **more)
    harness.scheduler.speculation = Speculation(Untimed((1, slots)), max_drafts)
    return harness


def copying(tokens: int, run: int = 40, start: int = 100, **more: Any) -> GenerateRequest:
    """A request whose first choice repeats a run of its prompt: the fake device counts on from the last token."""
    numbers = np.arange(start, start + run, dtype=np.int32)
    return GenerateRequest(prompt=np.append(numbers, numbers[0]), max_tokens=tokens, **more)


def test_right_drafts_save_steps_and_wrong_ones_change_nothing() -> None:
    answers = []
    for max_drafts in (0, 3, 15):
        harness = speculating(max_drafts)
        answers.append([event.token for event in harness.gather_one(copying(60))])
        steps = len(harness.runner.decodes)
        assert steps == 59 if not max_drafts else steps < 59 - 25
        harness.settle()
    assert answers[0] == answers[1] == answers[2] == list(range(100, 160))


def test_events_tell_accepted_drafts() -> None:
    for max_drafts in (0, 3, 15):
        harness = speculating(max_drafts)
        events = harness.gather_one(copying(60))
        assert sum(event.drafted for event in events) == harness.scheduler.speculation.accepted
        assert any(event.drafted for event in events) == bool(max_drafts)
        assert not events[0].drafted and not events[-1].drafted


def test_an_answer_has_no_token_too_many() -> None:
    harness = speculating()
    for tokens in (1, 2, 3, 7, 20):
        events = harness.gather_one(copying(tokens))
        assert len(events) == tokens and events[-1].finish == "length"
    stopping = copying(30, stop_tokens=frozenset({112}))
    events = harness.gather_one(stopping)
    assert [event.token for event in events] == list(range(100, 113)) and events[-1].finish == "stop"
    harness.settle()


def test_no_row_is_taken_from_a_sequence() -> None:
    harness = speculating(slots=4, pages=200)
    for number in range(4):
        harness.engine.submit(copying(300, start=100 + number))
    harness.gather(4)
    harness.settle()
    full = [work for work in harness.runner.decodes if len(set(work.slots.tolist())) == 4]
    assert full and all(work.drafts is None for work in full)
    assert all(len(work.slots) <= 4 for work in harness.runner.decodes)


@given(st.integers(0, 2**31))
@settings(max_examples=30, deadline=None)
def test_any_mix_of_requests_gives_the_same_answers_as_without_drafts(seed: int) -> None:
    rng = random.Random(seed)
    slots = rng.choice([2, 5, 9])
    harness = speculating(rng.randint(1, 15), slots, pages=rng.choice([10, 14, 60]), vocab=4000)
    requests: dict[int, GenerateRequest] = {}
    dropped = set()
    for _ in range(rng.randint(1, 12)):
        request = copying(rng.randint(1, 60), rng.randint(3, 40), rng.randint(100, 400), choices=rng.choice([1, 1, 2]))
        first = int(request.prompt[-1])
        if rng.random() < 0.3:
            request = replace(
                request, stop_tokens=frozenset({first + rng.randint(0, 40)}), min_tokens=rng.randint(0, 9)
            )
        if rng.random() < 0.3:
            request = replace(request, choices=1, stop_tokens=frozenset(), grammar=Counting(first))
        number = harness.engine.submit(request)
        if rng.random() < 0.2:
            harness.engine.cancel(number)
            dropped.add(number)
        else:
            requests[number] = request
    actual = harness.gather(sum(request.choices for request in requests.values()))
    for (number, choice), events in actual.items():
        if number in dropped:
            continue
        request = requests[number]
        first = int(request.prompt[-1]) + 1000 * choice
        wanted = [first + step for step in range(request.max_tokens)]
        ends = [step for step, token in enumerate(wanted) if token in request.stop_tokens]
        assert [event.token for event in events] == (wanted[: ends[0] + 1] if ends else wanted)
    harness.settle()


def test_a_grammar_is_asked_for_each_draft_and_taken_back() -> None:
    harness = speculating(vocab=2000)
    grammar = Counting(100)
    events = harness.gather_one(replace(copying(60), grammar=grammar))
    assert [event.token for event in events] == list(range(100, 160))
    masked = [work for work in harness.runner.decodes if work.drafts is not None]
    assert len(harness.runner.decodes) < 40 and masked
    for work in masked:
        assert work.constrained.all() and work.token_mask.any(axis=1).all()
    harness.settle()


class Failing(Counting):
    """A grammar whose copies cannot go beyond some tokens, and which fails in other ways too."""

    how = "fill"

    def copy(self) -> Counting:
        other = super().copy()
        other.ahead = True
        return other

    def fill(self, row: np.ndarray) -> None:
        if getattr(self, "ahead", False) and self.how == "fill":
            raise RuntimeError("too many states")
        super().fill(row)

    def accept(self, token: int) -> None:
        if getattr(self, "ahead", False) and self.how == "accept":
            raise ValueError("no such token")
        super().accept(token)

    def forced(self) -> list[int]:
        if self.how == "forced":
            raise RuntimeError("no text")
        return []


@pytest.mark.parametrize("how", ["fill", "accept", "forced"])
def test_a_grammar_that_fails_on_drafts_ends_no_answer(how: str) -> None:
    harness = speculating(vocab=2000)
    grammar = Failing(100)
    grammar.how = how
    numbers = [harness.engine.submit(replace(copying(60), grammar=grammar)), harness.engine.submit(copying(50))]
    actual = harness.gather(2)
    assert [len(actual[number, 0]) for number in numbers] == [60, 50]
    assert all(actual[number, 0][-1].finish == "length" for number in numbers)
    harness.settle()


def test_the_likeliest_drafts_ride_when_there_are_few_rows() -> None:
    class Guessing(Speculation):
        def _guesses(self, sequence: Any, limit: int) -> tuple[list[int], list[float]]:
            return sequence

    policy = Guessing(Untimed((1, 5)), 15)
    sequences: Any = [([1, 2], [0.9, 0.5]), ([3], [0.5]), ([4], [0.4])]
    assert policy.drafts(sequences, False) in ([[1, 2], [], []], [[1], [3], []])


def test_forced_tokens_are_drafts() -> None:
    class Forcing(Counting):
        def forced(self) -> list[int]:
            return [self.next, self.next + 1, self.next + 2]

    harness = speculating(vocab=2000)
    request = GenerateRequest(prompt=np.array([500], np.int32), max_tokens=41, grammar=Forcing(500))
    assert [event.token for event in harness.gather_one(request)] == list(range(500, 541))
    assert len(harness.runner.decodes) == 10  # four tokens in each
    harness.settle()


def test_expected_tokens_ride_until_the_first_that_is_wrong() -> None:
    answer, wrong = tuple(range(500, 600)), (*range(500, 560), 7, *range(561, 600))
    steps = {}
    for drafts in ((), (answer,), (answer[:50],), (wrong,), ((), answer), ((*answer, 600, 601),)):
        harness = speculating()
        request = GenerateRequest(prompt=np.array([500], np.int32), max_tokens=100, choices=max(1, len(drafts)))
        harness.engine.submit(replace(request, drafts=drafts))
        for (_, choice), events in harness.gather(request.choices).items():
            assert [event.token - 1000 * choice for event in events] == list(answer)
        harness.settle()
        steps[drafts] = len(harness.runner.decodes)
    assert steps[(answer,)] == steps[((*answer, 600, 601),)] == 13  # eight tokens in each, after the first
    assert steps[()] == 99 and 50 < steps[(answer[:50],)] < 60 and 40 < steps[(wrong,)] < 50


class TestSpeculation:
    def policy(self, seconds: dict[int, float]) -> Speculation:
        times = StepTimes(tuple(seconds))
        for rows, each in seconds.items():
            times.took(rows, False, each)
            times.took(rows, True, each)
        return Speculation(times, 15)

    def test_drafts_ride_where_they_give_more_tokens_a_second(self) -> None:
        gains = [0.9, 0.8, 0.7, 0.3, 0.1, 0.05, 0.05]
        assert self.policy({1: 1.0, 4: 1.01, 8: 1.02})._best_count(gains, 1, False) == 7
        assert self.policy({1: 1.0, 4: 1.5, 8: 2.5})._best_count(gains, 1, False) == 3
        assert self.policy({1: 1.0, 4: 4.0, 8: 8.0})._best_count(gains, 1, False) == 0
        assert self.policy({1: 1.0, 4: 1.5, 8: 2.5})._best_count([0.2, 0.1], 1, False) == 0
