"""Leader and followers without devices: the steps that each process runs, and the parts that it stores and deletes."""

from __future__ import annotations

import gc
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from jaxchat.runtime.multihost import LeadingRunner, run_follower
from jaxchat.types import DecodeWork, MultihostStep, Outcome, SwapInWork, SwapOutWork, Swapped

PAGES = np.array([1, 2], np.int32)
DECODE = DecodeWork(PAGES, PAGES)


class FakeRunner:
    """A runner that records its steps. Each swap leaves a separate number, as parts differ between real processes."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.ran: list[Any] = []

    def decode(self, work: DecodeWork) -> Handle:
        self.ran.append("decode")
        return Handle(None)

    prefill = decode

    def swap_out(self, work: SwapOutWork) -> Handle:
        self.ran.append(("out", work.slot))
        return Handle(Swapped(f"{self.name}{work.slot}", ()))

    def swap_in(self, work: SwapInWork) -> Handle:
        self.ran.append(("in", work.slot, work.swapped.row))
        return Handle(None)


class Handle:
    def __init__(self, outcome: Outcome) -> None:
        self.outcome = outcome

    def wait(self) -> Outcome:
        return self.outcome


def elsewhere(step: MultihostStep) -> MultihostStep:
    """Returns a step as it arrives: without the swapped contents."""
    work = step.work
    return replace(step, work=replace(work, swapped=Swapped(None, ()))) if isinstance(work, SwapInWork) else step


def test_each_process_swaps_its_own_part_back() -> None:
    leader, follower, sent = FakeRunner("a"), FakeRunner("b"), []
    leading = LeadingRunner(leader, sent.append)
    first, second = (leading.swap_out(SwapOutWork(slot, PAGES)).wait() for slot in (0, 1))
    leading.decode(DECODE).wait()
    leading.swap_in(SwapInWork(3, PAGES, 0, second)).wait()
    leading.swap_in(SwapInWork(2, PAGES, 0, first)).wait()
    assert leader.ran == [("out", 0), ("out", 1), "decode", ("in", 3, "a1"), ("in", 2, "a0")]
    run_follower(follower, map(elsewhere, sent))
    assert follower.ran == [("out", 0), ("out", 1), "decode", ("in", 3, "b1"), ("in", 2, "b0")]


def test_what_the_leader_drops_the_followers_forget() -> None:
    sent: list[MultihostStep] = []
    leading = LeadingRunner(FakeRunner("a"), sent.append)
    swapped = leading.swap_out(SwapOutWork(0, PAGES)).wait()
    leading.decode(DECODE).wait()
    assert sent[-1].forgotten == ()
    del swapped
    gc.collect()
    leading.decode(DECODE).wait()
    assert sent[-1].forgotten == (sent[0].saved,)
    follower = FakeRunner("b")
    again = MultihostStep(SwapInWork(0, PAGES, 0, Swapped(None, ())), sent[0].saved)
    with pytest.raises(KeyError):  # it has nothing to put back any more
        run_follower(follower, [*sent, again])
    assert follower.ran == [("out", 0), "decode", "decode"]


def test_followers_are_told_before_the_step_begins_and_time_runs_until_its_end() -> None:
    order: list[str] = []

    class Slow(FakeRunner):
        def decode(self, work: DecodeWork) -> Handle:
            order.append("begun")
            return super().decode(work)

    leading = LeadingRunner(Slow("a"), lambda step: order.append("told"))
    assert leading.stuck() == 0
    handle = leading.decode(DECODE)
    assert order == ["told", "begun"]
    assert leading.stuck() > 0
    handle.wait()
    assert leading.stuck() == 0
