"""Leader and followers: one process decides what runs, and all run it on their part of the mesh."""

from __future__ import annotations

import itertools
import time
import weakref
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from jaxchat.types import (
    DecodeWork,
    MultihostStep,
    Outcome,
    PrefillWork,
    StepHandle,
    StepRunner,
    SwapInWork,
    SwapOutWork,
    Swapped,
    Work,
)


class LeadingRunner:
    """A `StepRunner` that sends every step to the followers before it runs the step itself.

    One thread dispatches the steps; another may call `stuck`.
    """

    def __init__(self, runner: StepRunner, send: Callable[[MultihostStep], None]) -> None:
        self._runner = runner
        self._send = send
        self._numbers = itertools.count(1)
        self._forgotten: deque[int] = deque()  # finalizers may add from any thread
        self._begun: deque[float] = deque()

    def prefill(self, work: PrefillWork) -> StepHandle:
        return self._begin(MultihostStep(work), lambda: self._runner.prefill(work))

    def decode(self, work: DecodeWork) -> StepHandle:
        return self._begin(MultihostStep(work), lambda: self._runner.decode(work))

    def swap_out(self, work: SwapOutWork) -> StepHandle:
        number = next(self._numbers)
        handle = self._begin(MultihostStep(work, number), lambda: self._runner.swap_out(work))
        return _SwapOutHandle(handle, number, self._forgotten)

    def swap_in(self, work: SwapInWork) -> StepHandle:
        assert isinstance(work.swapped, _NumberedSwapped)
        return self._begin(MultihostStep(work, work.swapped.number), lambda: self._runner.swap_in(work))

    def stuck(self) -> float:
        """Returns the seconds for which the oldest unfinished step has been running; 0 if all steps are finished."""
        try:
            return time.monotonic() - self._begun[0]
        except IndexError:
            return 0.0

    def _begin(self, step: MultihostStep, run: Callable[[], StepHandle]) -> StepHandle:
        forgotten = tuple(self._forgotten.popleft() for _ in range(len(self._forgotten)))
        self._begun.append(time.monotonic())
        self._send(replace(step, forgotten=forgotten))
        return _Timed(run(), self._begun)


def run_follower(runner: StepRunner, steps: Iterable[MultihostStep]) -> None:
    """Runs a leader's steps until `steps` ends, dispatching at most one step ahead of the device.

    Errors of a step and of `steps` are passed on.
    """
    saved: dict[int, Swapped] = {}
    running: deque[tuple[int, StepHandle]] = deque()

    def finish(allowed: int) -> None:
        while len(running) > allowed:
            number, handle = running.popleft()
            if isinstance(outcome := handle.wait(), Swapped):
                saved[number] = outcome

    for step in steps:
        if step.forgotten or isinstance(step.work, SwapInWork):
            finish(0)
        for number in step.forgotten:
            del saved[number]
        running.append((step.saved, _run(runner, step, saved)))
        finish(1)
    finish(0)


def _run(runner: StepRunner, step: MultihostStep, saved: dict[int, Swapped]) -> StepHandle:
    work: Work = step.work
    match work:
        case PrefillWork():
            return runner.prefill(work)
        case DecodeWork():
            return runner.decode(work)
        case SwapOutWork():
            return runner.swap_out(work)
        case SwapInWork():
            return runner.swap_in(replace(work, swapped=saved[step.saved]))


@dataclass(frozen=True, eq=False)
class _NumberedSwapped(Swapped):
    """The leader's part of a swapped sequence, and the number under which each follower stores its own part."""

    number: int


@dataclass(frozen=True)
class _SwapOutHandle:
    handle: StepHandle
    number: int
    forgotten: deque[int]

    def wait(self) -> Outcome:
        part = self.handle.wait()
        assert isinstance(part, Swapped)
        swapped = _NumberedSwapped(part.row, part.blocks, self.number)
        weakref.finalize(swapped, self.forgotten.append, self.number)
        return swapped


@dataclass(frozen=True)
class _Timed:
    handle: StepHandle
    begun: deque[float]

    def wait(self) -> Outcome:
        outcome = self.handle.wait()
        self.begun.popleft()
        return outcome
