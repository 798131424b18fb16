"""Scheduling against a fake device: every request gets its own tokens, and all pages and slots are freed."""

from __future__ import annotations

import queue
import random
import time
from dataclasses import replace

import numpy as np
import pytest

from jaxchat.engine.engine import Engine, EngineStopped, QueueFull
from jaxchat.engine.scheduler import Scheduler, Step
from jaxchat.types import GenerateRequest, SamplingParams, TokenEvent
from tests.engine.fake import PAGE, FakeRunner

CHUNK = 32


class Harness:
    def __init__(self, slots: int = 3, pages: int = 60, queue_limit: int = 1000, vocab: int = 0) -> None:
        self.runner = FakeRunner(slots, pages)
        self.scheduler = Scheduler(slots=slots, prefill_buckets=(CHUNK,), page_size=PAGE, pages=pages, vocab=vocab)
        self.engine = Engine(self.runner, self.scheduler, queue_limit=queue_limit)
        self.events: queue.SimpleQueue[TokenEvent] = queue.SimpleQueue()
        self.engine.start(lambda events: [self.events.put(event) for event in events] and None)

    def gather(self, choices: int) -> dict[tuple[int, int], list[TokenEvent]]:
        """Events by request and choice until `choices` of them have finished."""
        actual: dict[tuple[int, int], list[TokenEvent]] = {}
        while choices:
            event = self.events.get(timeout=10)
            actual.setdefault((event.request, event.choice), []).append(event)
            choices -= event.finish is not None
        return actual

    def gather_one(self, request: GenerateRequest) -> list[TokenEvent]:
        """Events of a request with one choice."""
        number = self.engine.submit(request)
        return self.gather(1)[number, 0]

    def settle(self) -> None:
        """Waits until the engine has nothing more to do."""
        deadline = time.monotonic() + 10
        while self.left() != (0, 0, 0) and time.monotonic() < deadline:
            time.sleep(0.001)
        self.engine.stop()
        assert self.left() == (0, 0, 0)

    def left(self) -> tuple[int, int, int]:
        """Counts waiting and running sequences, and pages in use."""
        stats = self.engine.stats
        return stats.waiting, stats.running, stats.pages_in_use


def ask(length: int, tokens: int, choices: int = 1, stop: int | None = None, seed: int = 0) -> GenerateRequest:
    prompt = np.random.default_rng([length, seed]).integers(0, 900, length).astype(np.int32)
    stops = frozenset() if stop is None else frozenset({int(prompt[-1]) + stop})
    return GenerateRequest(prompt=prompt, max_tokens=tokens, choices=choices, stop_tokens=stops)


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
        assert work.start % CHUNK == 0


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


def test_cancelling_at_any_moment_leaves_nothing_behind() -> None:
    harness = Harness(slots=3, pages=10)
    rng = random.Random(3)
    for seed in range(60):
        number = harness.engine.submit(ask(rng.randint(1, 60), 50, seed=seed))
        if rng.random() < 0.6:
            harness.engine.cancel(rng.randint(max(1, number - 4), number))
    last = harness.engine.submit(ask(10, 3))
    while not (event := harness.events.get(timeout=10)).finish or event.request != last:
        pass
    assert harness.engine.stats.preemptions > 0
    harness.settle()


@pytest.mark.parametrize("when", ["queued", "running", "finished"])
def test_cancelling_frees_everything(when: str) -> None:
    harness = Harness(slots=1)
    first = harness.engine.submit(ask(40, 400 if when != "finished" else 3))
    second = harness.engine.submit(ask(20, 5))
    if when == "queued":
        harness.engine.cancel(second)
        harness.engine.cancel(first)
    elif when == "running":
        assert harness.events.get(timeout=10).request == first
        harness.engine.cancel(first)
    third = harness.engine.submit(ask(9, 2))
    harness.engine.cancel(12345)
    while True:
        event = harness.events.get(timeout=10)
        if event.request == third and event.finish:
            break
    harness.engine.cancel(first)
    harness.settle()


def test_one_choice_can_be_cancelled_alone() -> None:
    harness = Harness()
    harness.runner.ready.clear()
    number = harness.engine.submit(ask(10, 300, choices=2))
    harness.engine.cancel(number, 1)
    harness.runner.ready.set()
    actual = harness.gather(1)
    assert len(actual[number, 0]) == 300
    assert len(actual.get((number, 1), [])) < 300
    harness.settle()


def test_a_full_queue_refuses_but_an_empty_one_takes_any_request() -> None:
    harness = Harness(slots=1, queue_limit=4)
    harness.runner.ready.clear()
    harness.engine.submit(ask(10, 400, choices=30))
    with pytest.raises(QueueFull):
        harness.engine.submit(ask(10, 5))
    harness.runner.ready.set()
    harness.gather(30)
    harness.settle()


def test_without_a_queue_all_slots_can_be_taken_and_nothing_waits() -> None:
    harness = Harness(slots=3, queue_limit=0)
    harness.runner.ready.clear()
    for _ in range(3):
        harness.engine.submit(ask(10, 400))
    with pytest.raises(QueueFull):
        harness.engine.submit(ask(10, 5))
    harness.runner.ready.set()
    harness.gather(3)
    while harness.left() != (0, 0, 0):
        time.sleep(0.001)
    harness.runner.ready.clear()
    harness.engine.submit(ask(10, 5, choices=20))  # more choices than slots must be possible
    with pytest.raises(QueueFull):
        harness.engine.submit(ask(10, 5))
    harness.runner.ready.set()
    harness.gather(20)
    harness.settle()


def test_a_lost_device_fails_whoever_waits() -> None:
    harness = Harness(slots=1)
    harness.runner.fail_at = 3
    harness.engine.submit(ask(10, 50, choices=2))
    actual = harness.gather(1)
    assert [event.finish for events in actual.values() for event in events if event.finish] == ["engine_failure"]
    with pytest.raises(EngineStopped):
        harness.engine.submit(ask(1, 1))
    assert isinstance(harness.engine.failure, RuntimeError)


def test_sampling_parameters_reach_the_device_with_every_chunk() -> None:
    harness = Harness()
    sampling = SamplingParams(seed=2**63 + 5, logit_bias=((3, 1.5),))
    prompt = np.arange(70, dtype=np.int32)
    harness.engine.submit(GenerateRequest(prompt=prompt, max_tokens=1, choices=2, sampling=sampling))
    harness.gather(2)
    harness.settle()
    assert {work.choice for work in harness.runner.prefills} == {0, 1}
    assert all(work.sampling == sampling for work in harness.runner.prefills)


class Counting:
    """A grammar that allows exactly the token that the fake device samples next, and records the tokens it accepts."""

    def __init__(self, first: int) -> None:
        self.next, self.fills = first, 0

    def start(self) -> Counting:
        return self

    def fill(self, row: np.ndarray) -> None:
        self.fills += 1
        row[self.next // 32] |= np.uint32(1 << self.next % 32)

    def accept(self, token: int) -> None:
        if token != self.next:
            raise ValueError(f"{token} instead of {self.next}")
        self.next += 1


def test_a_constrained_row_waits_for_each_token_while_others_run() -> None:
    harness = Harness(vocab=2000)
    plain = ask(40, 30)
    grammar = Counting(int(ask(20, 25, seed=4).prompt[-1]))
    ruled = replace(ask(20, 25, seed=4), grammar=grammar)
    numbers = [harness.engine.submit(plain), harness.engine.submit(ruled)]
    actual = harness.gather(2)
    assert [len(actual[number, 0]) for number in numbers] == [30, 25]
    assert grammar.fills == 25
    masks = [work for work in harness.runner.decodes if work.token_mask is not None]
    assert len(masks) == 24 and all(work.constrained.sum() == 1 for work in masks)
    assert len(harness.runner.decodes) < 50  # both rows share steps
    harness.settle()


def test_a_grammar_that_cannot_go_on_fails_its_request_alone() -> None:
    class Stuck(Counting):
        def fill(self, row: np.ndarray) -> None:
            super().fill(row)
            if self.fills == 3:
                raise RuntimeError("too complex")

    harness = Harness(vocab=2000)
    stuck = replace(ask(20, 25, seed=4), grammar=Stuck(int(ask(20, 25, seed=4).prompt[-1])))
    numbers = [harness.engine.submit(stuck), harness.engine.submit(ask(10, 50))]
    actual = harness.gather(2)
    assert [event.finish for event in actual[numbers[0], 0]] == [None, None, "grammar_error"]
    assert len(actual[numbers[1], 0]) == 50
    harness.settle()


def test_a_token_that_its_grammar_forbids_fails_that_request_alone() -> None:
    harness = Harness(vocab=2000)
    wrong = replace(ask(20, 25, seed=4), grammar=Counting(1))
    numbers = [harness.engine.submit(wrong), harness.engine.submit(ask(10, 5))]
    actual = harness.gather(2)
    assert [event.finish for event in actual[numbers[0], 0]] == ["grammar_error"]
    assert len(actual[numbers[1], 0]) == 5
    harness.settle()


def test_stop_tokens_are_banned_for_the_first_tokens_without_waiting_for_results() -> None:
    harness = Harness(vocab=2000)
    numbers = [
        harness.engine.submit(replace(ask(40, 30, stop=25), min_tokens=3)),
        harness.engine.submit(replace(ask(20, 30, seed=4), min_tokens=0)),
    ]
    actual = harness.gather(2)
    assert [len(actual[number, 0]) for number in numbers] == [26, 30]
    (banned,) = ask(40, 30, stop=25).stop_tokens
    first, *others = [work for work in harness.runner.prefills if work.last]
    assert first.token_mask is not None and others[0].token_mask is None
    masks = [work for work in harness.runner.decodes if work.token_mask is not None]
    assert len(masks) == 2 and all(work.constrained.sum() == 1 for work in masks)
    for row in (first.token_mask[0], *(work.token_mask[work.constrained.argmax()] for work in masks)):
        assert _ids(~row) == [banned]
    assert not any(Step(work, ()).awaited for work in masks)
    harness.settle()


def test_a_grammar_that_allows_nothing_but_the_end_ends_a_short_answer() -> None:
    class Ending(Counting):
        """Allows the fake device's next token and one more; in the end only that token, which is a stop token."""

        def fill(self, row: np.ndarray) -> None:
            super().fill(row)
            if self.fills < 3:
                row[0] |= np.uint32(1)

    harness = Harness(vocab=2000)
    request = ask(20, 25, seed=4, stop=3)
    start = int(request.prompt[-1])
    request = replace(request, grammar=Ending(start), min_tokens=9, stop_tokens=frozenset({0, start + 2}))
    actual = harness.gather_one(request)
    assert [event.finish for event in actual] == [None, None, "stop"]
    masks = [harness.runner.prefills[-1].token_mask, *(work.token_mask for work in harness.runner.decodes)]
    assert [_ids(mask[0]) for mask in masks[:3]] == [[start], [start + 1], [start + 2]]
    harness.settle()


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


def _ids(row: np.ndarray) -> list[int]:
    return [32 * word + bit for word in range(len(row)) for bit in range(32) if row[word] >> np.uint32(bit) & 1]
