"""What the next step does, decided without a device or a thread."""

from __future__ import annotations

import numpy as np

from jaxchat.engine.scheduler import Scheduler, Step
from jaxchat.engine.sequence import Sequence
from jaxchat.types import DecodeWork, GenerateRequest, PrefillWork, Swapped
from tests.engine.fake import result


def make(slots: int = 2, pages: int = 40, chunks: tuple[int, ...] = (32,)) -> Scheduler:
    return Scheduler(slots=slots, prefill_buckets=chunks, page_size=16, pages=pages)


def sequence(number: int, length: int = 10, tokens: int = 20) -> Sequence:
    return Sequence(number, 0, GenerateRequest(prompt=np.full(length, number, np.int32), max_tokens=tokens))


def schedule(scheduler: Scheduler) -> Step:
    step = scheduler.schedule()
    assert step
    return step


def kinds(scheduler: Scheduler, count: int) -> str:
    """Returns the kinds of the next steps: p for prefill, d for decode."""
    return "".join("p" if isinstance(schedule(scheduler).work, PrefillWork) else "d" for _ in range(count))


def test_a_cancelled_sequence_is_in_no_later_step_and_its_slot_is_free_at_once() -> None:
    scheduler = make()
    scheduler.add(sequence(1))
    scheduler.add(sequence(2))
    assert kinds(scheduler, 2) == "pd" and scheduler.running == 2
    in_flight = schedule(scheduler)
    assert scheduler.cancel(1) == 1
    assert scheduler.running == 1
    later = schedule(scheduler)
    assert isinstance(later.work, DecodeWork) and len(later.work.slots) == 1
    assert [sequence.request_id for sequence in later.rows] == [2]
    events = scheduler.process_output(in_flight, result(np.array([5, 5], np.int32)))
    assert [event.request for event in events] == [2]


def test_a_freed_slot_goes_to_whoever_waits_next() -> None:
    scheduler = make(slots=1)
    scheduler.add(sequence(1))
    scheduler.add(sequence(2))
    assert kinds(scheduler, 2) == "pd"
    scheduler.cancel(1)
    (row,) = schedule(scheduler).rows
    assert row.request_id == 2


def test_prompts_and_answers_take_turns() -> None:
    scheduler = make()
    scheduler.add(sequence(1))
    assert kinds(scheduler, 2) == "pd"
    scheduler.add(sequence(2, length=100))
    assert kinds(scheduler, 9) == "pdpdpdpdd"


def test_the_youngest_makes_room_and_comes_back_before_anyone_new() -> None:
    scheduler = make(slots=3, pages=6)
    for number in (1, 2, 3):
        scheduler.add(sequence(number, length=30))
    seen = []
    for _ in range(200):
        step = scheduler.schedule()
        if step is None:
            break
        kind = type(step.work).__name__.removesuffix("Work")
        seen.append((kind, *(row.request_id for row in step.rows)))
        tokens = result(np.zeros(len(step.rows), np.int32))
        scheduler.process_output(step, {"SwapOut": Swapped(None, ()), "SwapIn": None}.get(kind, tokens))
    swaps = [entry for entry in seen if entry[0].startswith("Swap")]
    assert swaps[:2] == [("SwapOut", 2), ("SwapIn", 2)] and scheduler.preemptions == len(swaps) / 2
    assert seen.index(("SwapIn", 2)) < seen.index(("Prefill", 3))
    steps = [sum(number in rows for kind, *rows in seen if not kind.startswith("Swap")) for number in (1, 2, 3)]
    assert steps == [20, 20, 20]
    assert (scheduler.running, scheduler.waiting, scheduler.pool.in_use) == (0, 0, 0)


def test_a_swapped_sequence_can_be_cancelled() -> None:
    scheduler = make(slots=2, pages=6)
    for number in (1, 2):
        scheduler.add(sequence(number, length=30, tokens=30))
    while not scheduler.preemptions:
        step = schedule(scheduler)
        scheduler.process_output(step, result(np.zeros(len(step.rows), np.int32)))
    assert (scheduler.running, scheduler.waiting) == (1, 1)
    assert scheduler.cancel(2) == 1
    assert (scheduler.running, scheduler.waiting) == (1, 0)
    scheduler.cancel(1)
    assert scheduler.pool.in_use == 0 and scheduler.schedule() is None


def test_nothing_to_do_is_no_step() -> None:
    scheduler = make()
    assert scheduler.schedule() is None
    scheduler.add(sequence(1, tokens=1))
    step = schedule(scheduler)
    assert scheduler.schedule() is None  # its only token is on the way
    (event,) = scheduler.process_output(step, result(np.array([7], np.int32)))
    assert (event.token, event.finish) == (7, "length")
    assert scheduler.running == 0 and scheduler.pool.in_use == 0


def test_who_leaves_the_queue_leaves_the_others_in_their_order() -> None:
    scheduler = make(slots=1)
    for number in (1, 2, 3, 4):
        for choice in range(2):
            scheduler.add(Sequence(number, choice, sequence(number, tokens=1).request))
    assert [scheduler.cancel(2), scheduler.cancel(3, 1), scheduler.cancel(3, 1), scheduler.cancel(9)] == [2, 1, 0, 0]
    assert scheduler.waiting == 5
    seen = []
    while step := scheduler.schedule():
        seen += [row.arrival for row in step.rows]
        scheduler.process_output(step, result(np.zeros(1, np.int32)))
    assert seen == [(1, 0), (1, 1), (3, 0), (4, 0), (4, 1)]
    assert scheduler.cancel(1) == 0


def test_a_cancel_looks_at_nobody_else() -> None:
    class Asleep(Sequence):
        def __getattribute__(self, name: str) -> object:
            assert not watching, f"{name} of a sequence that is not meant"
            return super().__getattribute__(name)

    watching = False
    scheduler = make()
    for number in (1, 2, 3):
        scheduler.add(Asleep(number, 0, sequence(number).request) if number != 2 else sequence(2))
    watching = True
    assert scheduler.cancel(2) == 1


def test_a_large_step_shares_each_of_its_chunks() -> None:
    scheduler = make(chunks=(32, 128))
    scheduler.add(sequence(1, length=130, tokens=1))
    first = schedule(scheduler)
    assert isinstance(first.work, PrefillWork) and first.work.tokens == 128
    schedule(scheduler)
    scheduler.add(Sequence(2, 0, GenerateRequest(prompt=np.full(100, 1, np.int32), max_tokens=1)))
    second = schedule(scheduler)
    assert isinstance(second.work, PrefillWork) and second.work.slices[0].start == 96


def test_many_who_could_start_are_prefilled_before_the_few_go_on() -> None:
    scheduler = make(slots=8, pages=80, chunks=(32, 128))
    scheduler.add(sequence(1))
    assert kinds(scheduler, 2) == "pd"
    for number in range(2, 6):
        scheduler.add(sequence(number))
    assert kinds(scheduler, 4) == "ppdd"
