"""Requests that the engine does not take: a full queue, and a device that is lost."""

from __future__ import annotations

import time

import pytest

from jaxchat.engine.engine import EngineStopped, QueueFull
from tests.engine.harness import Harness, ask


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
