"""Measures the cost of scheduling on the host with many waiting requests: `python -m tools.bench.scale --queued 10000`

Drives the engine's own scheduler with a device that answers at once. Like the engine, schedules one step ahead. Each
answer continues the text of its prompt, but every tenth token differs, so that some drafts are right and some wrong.
The table has the processor time of scheduling and processing a step, in milliseconds, and of cancelling a request, in
microseconds. The time should grow only with the active rows. The exit status is 1 if the 99th percentile of the steps
exceeds the limit.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from random import Random

import numpy as np

from jaxchat.engine.scheduler import Scheduler, Step
from jaxchat.engine.sequence import Sequence
from jaxchat.types import GenerateRequest, Outcome, StepResult, SwapInWork, SwapOutWork, Swapped

PAGE, CHUNK = 16, 512  # as for an accelerator
TEXT = np.random.default_rng(0).integers(2, 1000, 997, np.int32)  # the prompts and answers repeat it


@dataclass(frozen=True, kw_only=True)
class Load:
    """A load on the scheduler.

    Attributes:
        name: name in the table.
        slots: sequences that may run at once.
        queued: sequences that wait for a slot.
        prompt: tokens of each prompt.
        answer: minimum and maximum number of tokens of an answer.
        pages: size of the page pool, divided by the number of slots.
        drafts: maximum number of draft tokens of one sequence in a step. If it is above 0, half of the slots stay free
            for draft tokens.
    """

    name: str
    slots: int
    queued: int
    prompt: int
    answer: tuple[int, int]
    pages: int
    drafts: int = 0


@dataclass(frozen=True)
class Measured:
    """Measurements of a load.

    Attributes:
        steps: processor time of each step, in milliseconds.
        cancels: processor time of each cancellation, in microseconds.
        rows: mean number of sequences in a step.
        swaps: how often a sequence was swapped out.
    """

    steps: list[float]
    cancels: list[float]
    rows: float
    swaps: int


class Host:
    """A scheduler under load, with a simulated device."""

    def __init__(self, load: Load) -> None:
        self._load, self._rng, self._number = load, Random(0), 0
        self._scheduler = Scheduler(
            slots=load.slots,
            prefill_buckets=(CHUNK,),
            page_size=PAGE,
            pages=1 + load.slots * load.pages,
            max_drafts=load.drafts,
        )
        self._most = load.slots // 2 if load.drafts else load.slots
        self._in_flight: deque[Step] = deque()
        self._live: set[int] = set()
        self._fill()

    def run(self, steps: int) -> Measured:
        """Fills the slots as far as possible, then times `steps` steps. Cancels a queued request after each step."""
        for _ in range(8 * self._load.slots):
            if self._scheduler.running < self._most:
                self._step()
        for _ in range(steps // 10):
            self._step()
        times, cancels, rows = [], [], []
        for _ in range(steps):
            milliseconds, size = self._step()
            times.append(milliseconds)
            rows.append(size)
            if self._load.queued:
                victim = self._number - self._rng.randrange(max(self._load.queued // 2, 1))
                cancels.append(1000 * _timed(lambda number=victim: self._scheduler.cancel(number))[0])
            self._fill()
        return Measured(times, cancels, statistics.mean(rows), self._scheduler.preemptions)

    def _fill(self) -> None:
        while self._scheduler.waiting + self._scheduler.running < self._most + self._load.queued:
            self._number += 1
            prompt = _text(np.arange(self._number, self._number + self._load.prompt))
            request = GenerateRequest(prompt=prompt, max_tokens=self._rng.randint(*self._load.answer))
            self._scheduler.add(Sequence(self._number, 0, request))

    def _step(self) -> tuple[float, int]:
        """Runs one step. Returns its processor time in milliseconds, and its rows."""
        spent, step = _timed(self._scheduler.schedule)
        if step:
            self._in_flight.append(step)
        if len(self._in_flight) > (step is not None and not step.awaited):
            done = self._in_flight.popleft()
            outcome = _outcome(done)
            spent += _timed(lambda: self._scheduler.process_output(done, outcome))[0]
        return spent, len(step.rows) if step else 0


def _outcome(step: Step) -> Outcome:
    """Returns the result of a step on the simulated device: tokens of `_text`, with every tenth token replaced."""
    if isinstance(step.work, SwapOutWork):
        return Swapped(None, ())
    if isinstance(step.work, SwapInWork):
        return None
    sampled, of_rows = dict[Sequence, int](), list[int]()
    for sequence in step.rows:
        place = sampled.setdefault(sequence, sequence.sampled)
        sampled[sequence] += 1
        of_rows.append(sequence.request_id + len(sequence.prompt) + place)
    rows, places = len(of_rows), np.array(of_rows, np.int64)
    few, tokens = np.zeros((rows, 20), np.int32), _text(places)
    tokens[places % 10 == 0] = 1
    return StepResult(tokens, np.ones(rows, bool), np.zeros(rows, np.float32), few, few.astype(np.float32))


def _text(places: np.ndarray) -> np.ndarray:
    return TEXT[places % len(TEXT)]


def _timed(work: Callable[[], object]) -> tuple[float, object]:
    """Returns the processor time of `work` in milliseconds, and its result. Other threads do not count."""
    began = time.thread_time_ns()
    result = work()
    return (time.thread_time_ns() - began) / 1e6, result


def loads(slots: int, queued: int) -> list[Load]:
    """Returns the loads: decoding with more and more rows, an empty queue, drafts, short requests, and few pages.

    Args:
        slots: number of slots of the largest load.
        queued: number of waiting sequences, except with an empty queue.
    """
    long, short = (100_000, 100_000), (512, 2048)
    few = [
        Load(name="decode", slots=n, queued=queued, prompt=32, answer=long, pages=1000)
        for n in (slots // 16, slots // 4)
    ]
    return [
        *few,
        Load(name="decode, empty queue", slots=slots, queued=0, prompt=32, answer=long, pages=1000),
        Load(name="decode", slots=slots, queued=queued, prompt=32, answer=long, pages=1000),
        Load(name="decode, drafts", slots=slots, queued=0, prompt=2000, answer=long, pages=1000, drafts=15),
        Load(name="come and go", slots=slots, queued=queued, prompt=200, answer=short, pages=64),
        Load(name="long prompts, few pages", slots=slots, queued=queued, prompt=6000, answer=short, pages=60),
        Load(name="swapping", slots=slots, queued=queued, prompt=200, answer=short, pages=24),
    ]


def main() -> int:
    """Runs the command line. Returns the exit status."""
    parser = argparse.ArgumentParser(prog="tools.bench.scale", description=__doc__.splitlines()[0])
    parser.add_argument("--slots", type=int, default=256)
    parser.add_argument("--queued", type=int, default=10_000)
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument(
        "--limit", type=float, default=2.0, help="maximum time of a step (99th percentile), in milliseconds"
    )
    args = parser.parse_args()
    print("| load | slots | queued | rows | swaps | step ms, median | p99 | cancel us, median | p99 |")
    print("|---|---|---|---|---|---|---|---|---|", flush=True)
    worst = 0.0
    for load in loads(args.slots, args.queued):
        results = Host(load).run(args.steps)
        step, cancel = _spread(results.steps), _spread(results.cancels or [0.0])
        worst = max(worst, step[1])
        cells = (load.name, load.slots, load.queued, f"{results.rows:.0f}", results.swaps)
        cells += (*(f"{value:.3f}" for value in step), *(f"{value:.1f}" for value in cancel))
        print(f"| {' | '.join(map(str, cells))} |", flush=True)
    return int(worst > args.limit)


def _spread(values: list[float]) -> tuple[float, float]:
    return statistics.median(values), float(np.percentile(values, 99))


if __name__ == "__main__":
    sys.exit(main())
