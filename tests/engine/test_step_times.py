"""How long steps take: what counts as a step's time, and what is estimated from it."""

from __future__ import annotations

import numpy as np
import pytest

from jaxchat.engine import step_timer
from jaxchat.engine.scheduler import Step
from jaxchat.engine.step_timer import StepTimer
from jaxchat.engine.step_times import StepTimes
from jaxchat.types import DecodeWork

STEP = Step(DecodeWork(np.zeros(1, np.int32), np.zeros(1, np.int32)), ())


class TestStepTimes:
    def test_unknown_programs_are_taken_for_as_fast_as_the_next_smaller(self) -> None:
        times = StepTimes((1, 4, 8))
        assert times.seconds(8, True) == 0
        times.took(1, False, 0.010)
        times.took(3, True, 0.020)
        assert (times.seconds(1, True), times.seconds(4, True), times.seconds(8, True)) == (0.010, 0.020, 0.020)

    def test_a_disturbed_step_is_forgotten(self) -> None:
        times = StepTimes((1, 8))
        times.took(8, True, 0.5)
        times.took(8, True, 0.05)
        assert times.seconds(8, True) == pytest.approx(0.05, rel=0.1)
        for _ in range(5):
            times.took(8, True, 0.05)
        times.took(8, True, 5.0)
        assert times.seconds(8, True) < 0.065

    def test_a_slow_program_is_tried_again_some_day(self) -> None:
        times = StepTimes((1, 2, 4, 8))
        times.took(8, True, 1.0)
        for _ in range(3000):
            times.took(1, False, 0.01)
        assert times.seconds(8, True) < 0.02 and times.seconds(1, False) == pytest.approx(0.01)


class TestStepTimer:
    """With a clock that the test turns, and a device that takes 5 ms for a step."""

    @pytest.fixture
    def clock(self, monkeypatch: pytest.MonkeyPatch) -> list[float]:
        now = [100.0]
        monkeypatch.setattr(step_timer.time, "perf_counter", lambda: now[0])
        return now

    def test_steps_in_a_row_last_from_result_to_result(self, clock: list[float]) -> None:
        seen: list[float] = []
        timer = StepTimer(lambda step, seconds: seen.append(round(seconds, 4)))
        timer.dispatched()
        for _ in range(3):
            clock[0] += 0.005
            timer.ended(STEP, waited=0.004, more=True)
        assert seen == [0.005, 0.005, 0.005]

    def test_an_awaited_step_lasts_until_the_next_is_dispatched(self, clock: list[float]) -> None:
        seen: list[float] = []
        timer = StepTimer(lambda step, seconds: seen.append(round(seconds, 4)))
        for _ in range(2):
            timer.dispatched()
            clock[0] += 0.005
            timer.ended(STEP, waited=0.005, more=False)
            clock[0] += 0.002
        timer.dispatched()
        assert seen == [0.007, 0.007]

    def test_a_late_host_spoils_two_steps_that_do_not_count(self, clock: list[float]) -> None:
        seen: list[float] = []
        timer = StepTimer(lambda step, seconds: seen.append(round(seconds, 4)))
        timer.dispatched()
        for waited, passed in ((0.005, 0.005), (0.0, 0.012), (0.003, 0.003), (0.005, 0.005)):
            clock[0] += passed
            timer.ended(STEP, waited=waited, more=True)
        assert seen == [0.005, 0.005]

    def test_idle_time_belongs_to_no_step(self, clock: list[float]) -> None:
        seen: list[float] = []
        timer = StepTimer(lambda step, seconds: seen.append(seconds))
        timer.dispatched()
        timer.ended(STEP, waited=0.005, more=False)
        timer.idle()
        clock[0] += 60
        timer.dispatched()
        assert seen == []
