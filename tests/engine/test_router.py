"""Data parallelism: which engine gets a request, and that each answer returns under its own number."""

from __future__ import annotations

import queue
import time

import numpy as np
import pytest

from jaxchat.engine.engine import EngineStopped, QueueFull
from jaxchat.engine.router import DataParallelEngine, PrefixAffinity
from jaxchat.engine.scheduler import Scheduler
from jaxchat.types import GenerateRequest, TokenEvent
from tests.engine.fake import PAGE, FakeRunner

CHUNK, PAGES = 32, 60


class Harness:
    """Engines on fake devices."""

    def __init__(self, engines: int = 3, slots: int = 2, queue_limit: int = 1000) -> None:
        self.runners = [FakeRunner(slots, PAGES) for _ in range(engines)]
        schedulers = [
            Scheduler(slots=slots, prefill_buckets=(CHUNK,), page_size=PAGE, pages=PAGES) for _ in range(engines)
        ]
        self.replicas = DataParallelEngine(
            list(zip(self.runners, schedulers, strict=True)), queue_limit=queue_limit, chunk=CHUNK
        )
        self.events: queue.SimpleQueue[TokenEvent] = queue.SimpleQueue()
        self.ended: queue.SimpleQueue[bool] = queue.SimpleQueue()
        self.replicas.start(lambda events: [self.events.put(e) for e in events] and None, lambda: self.ended.put(True))

    def gather(self, choices: int) -> dict[int, list[TokenEvent]]:
        """Events by request until `choices` of them have finished."""
        actual: dict[int, list[TokenEvent]] = {}
        while choices:
            event = self.events.get(timeout=10)
            actual.setdefault(event.request, []).append(event)
            choices -= event.finish is not None
        return actual

    def answer(self, prompt: np.ndarray) -> int:
        """Has a prompt answered and returns which engine computed it."""
        before = [len(runner.prefills) for runner in self.runners]
        self.replicas.submit(GenerateRequest(prompt=prompt, max_tokens=2))
        self.gather(1)
        [home] = [i for i, runner in enumerate(self.runners) if len(runner.prefills) > before[i]]
        return home


def tokens(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 900, count).astype(np.int32)


def test_requests_are_dealt_out_and_answered_under_their_own_numbers() -> None:
    harness = Harness()
    requests = {}
    for seed in range(12):
        request = GenerateRequest(prompt=tokens(20, seed), max_tokens=5, choices=1 + seed % 2)
        requests[harness.replicas.submit(request)] = request
    assert len(requests) == 12
    actual = harness.gather(sum(request.choices for request in requests.values()))
    for number, events in actual.items():
        last = int(requests[number].prompt[-1])
        for choice in range(requests[number].choices):
            mine = [event.token for event in events if event.choice == choice]
            assert mine == [last + 1000 * choice + step for step in range(5)]
    assert all(len(runner.prefills) >= 3 for runner in harness.runners)
    harness.replicas.stop()
    stats = harness.replicas.stats
    assert (stats.waiting, stats.running, stats.pages_in_use, stats.pages) == (0, 0, 0, 3 * (PAGES - 1))


def test_a_conversation_returns_to_the_engine_that_has_its_beginning() -> None:
    harness = Harness()
    talks = [tokens(100, seed) for seed in range(3)]
    homes = [harness.answer(talk) for talk in talks]
    assert sorted(homes) == [0, 1, 2]  # none shares a beginning: each to another one
    for turn in range(1, 4):
        for talk, home in zip(talks, homes, strict=True):
            assert harness.answer(np.concatenate([talk, tokens(20 * turn, 50 + turn)])) == home
    harness.replicas.stop()


def test_a_beginning_that_is_the_lesser_part_of_a_prompt_does_not_decide() -> None:
    harness = Harness()
    start = tokens(CHUNK)
    home = harness.answer(start)
    homes = {harness.answer(np.concatenate([start, tokens(200, seed)])) for seed in range(1, 4)}
    assert homes == {0, 1, 2} and home in homes
    harness.replicas.stop()


def test_a_busy_home_is_passed_over() -> None:
    harness = Harness(engines=2, slots=1)
    prompt = tokens(64)
    home = harness.answer(prompt)
    long = GenerateRequest(prompt=prompt, max_tokens=700)
    assert harness.replicas.submit(long) % 2 == home
    assert harness.replicas.submit(long) % 2 != home
    harness.replicas.stop()


def test_cancel_reaches_the_right_engine() -> None:
    harness = Harness(engines=2, slots=1)
    numbers = [harness.replicas.submit(GenerateRequest(prompt=tokens(9, seed), max_tokens=700)) for seed in range(4)]
    for number in numbers:
        harness.replicas.cancel(number)
    deadline = time.monotonic() + 10
    while (stats := harness.replicas.stats).running or stats.waiting:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    harness.replicas.stop()


def test_the_queue_is_bounded_over_all() -> None:
    harness = Harness(engines=2, slots=1, queue_limit=2)
    harness.replicas.stop()
    with pytest.raises(EngineStopped):
        harness.replicas.submit(GenerateRequest(prompt=tokens(9), max_tokens=5))
    harness = Harness(engines=2, slots=1, queue_limit=2)
    for runner in harness.runners:
        runner.ready.clear()
    taken = 0
    with pytest.raises(QueueFull):
        for taken in range(100):
            harness.replicas.submit(GenerateRequest(prompt=tokens(9, taken), max_tokens=900))
    assert taken == 4  # two run, one waits at each
    for runner in harness.runners:
        runner.ready.set()
    harness.replicas.stop()


def test_the_failure_of_one_is_the_failure_of_all() -> None:
    harness = Harness(engines=2)
    harness.runners[1].fail_at = 0
    for seed in range(2):
        harness.replicas.submit(GenerateRequest(prompt=tokens(9, seed), max_tokens=5))
    assert harness.ended.get(timeout=10)
    assert isinstance(harness.replicas.failure, RuntimeError) and not harness.replicas.alive
    harness.replicas.stop(0.0)


def test_beginnings_are_those_of_whole_chunks_and_the_oldest_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jaxchat.engine.router.REMEMBERED", 4)
    beginnings = PrefixAffinity(CHUNK)
    prompt = tokens(3 * CHUNK + 5)
    keys = beginnings.keys(prompt)
    assert len(keys) == 3
    assert beginnings.find(keys) == (0, 0)
    beginnings.record(keys, 2)
    longer = np.concatenate([prompt[: 2 * CHUNK], tokens(2 * CHUNK, 1)])
    assert beginnings.find(beginnings.keys(longer)) == (2, 2 * CHUNK)
    assert beginnings.find(beginnings.keys(prompt[1:])) == (0, 0)
    beginnings.record(beginnings.keys(tokens(4 * CHUNK, 2)), 1)
    assert beginnings.find(keys) == (0, 0)
