"""What the next step does, decided without a device or a thread."""

from __future__ import annotations

import numpy as np

from jaxchat.engine.scheduler import Scheduler, Step
from jaxchat.engine.sequence import Sequence
from jaxchat.types import DecodeWork, GenerateRequest, PrefillWork
from tests.engine.fake import result


def make(slots: int = 2) -> Scheduler:
    return Scheduler(slots=slots, chunk=32, page_size=16, pages=40)


def sequence(number: int, length: int = 10, tokens: int = 20) -> Sequence:
    return Sequence(number, 0, GenerateRequest(prompt=np.full(length, number, np.int32), max_tokens=tokens))


def plan(scheduler: Scheduler) -> Step:
    step = scheduler.plan()
    assert step
    return step


def kinds(scheduler: Scheduler, count: int) -> str:
    """The next steps: p for prefill, d for decode."""
    return "".join("p" if isinstance(plan(scheduler).work, PrefillWork) else "d" for _ in range(count))


def test_a_cancelled_sequence_is_in_no_later_step_and_its_slot_is_free_at_once() -> None:
    scheduler = make()
    scheduler.add(sequence(1))
    scheduler.add(sequence(2))
    assert kinds(scheduler, 4) == "pdpd" and scheduler.running == 2
    in_flight = plan(scheduler)
    assert scheduler.cancel(1) == 1
    assert scheduler.running == 1 and len(scheduler.free_slots) == 1
    later = plan(scheduler)
    assert isinstance(later.work, DecodeWork) and later.work.active.sum() == 1
    assert [held.request_id for _, held in later.rows] == [2]
    events = scheduler.collect(in_flight, result(np.array([5, 5], np.int32)))
    assert [event.request for event in events] == [2]


def test_a_freed_slot_goes_to_whoever_waits_next() -> None:
    scheduler = make(slots=1)
    scheduler.add(sequence(1))
    scheduler.add(sequence(2))
    assert kinds(scheduler, 2) == "pd"
    scheduler.cancel(1)
    (row,) = plan(scheduler).rows
    assert row[1].request_id == 2


def test_prompts_and_answers_take_turns() -> None:
    scheduler = make()
    scheduler.add(sequence(1))
    assert kinds(scheduler, 2) == "pd"
    scheduler.add(sequence(2, length=100))
    assert kinds(scheduler, 9) == "pdpdpdpdd"


def test_nothing_to_do_is_no_step() -> None:
    scheduler = make()
    assert scheduler.plan() is None
    scheduler.add(sequence(1, tokens=1))
    step = plan(scheduler)
    assert scheduler.plan() is None  # its only token is on the way
    (event,) = scheduler.collect(step, result(np.array([7], np.int32)))
    assert (event.token, event.finish) == (7, "length")
    assert scheduler.running == 0 and scheduler.pool.in_use == 0
