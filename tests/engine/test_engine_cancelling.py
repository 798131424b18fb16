"""Cancelled requests and choices leave nothing behind, whenever they are cancelled."""

from __future__ import annotations

import random

import pytest

from tests.engine.harness import Harness, ask


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
