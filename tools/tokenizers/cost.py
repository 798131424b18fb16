"""Measures the CPU time of a long message, and for how long it blocks other threads."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from tokenizers import Tokenizer

from tools.tokenizers.subject import Subject

SWITCH = 1e-4  # seconds after which Python code lets another thread run; a longer stop is one call that holds the GIL
_DOUBTFUL, _MORE = 2.0, 5  # ms, and tries: on a busy machine, the second thread may have waited for a core, not the GIL


@dataclass(frozen=True)
class Cost:
    """The cost of one message.

    Attributes:
        kind: name of the message.
        ours: CPU time from the request to the ids, in milliseconds.
        library: CPU time in which the library alone encodes the prompt, in milliseconds. It is measured once with
            control tokens read as text and once with control tokens read as tokens. The larger time counts.
        stop: longest time for which this thread held the GIL, in milliseconds.
    """

    kind: str
    ours: float
    library: float
    stop: float

    @property
    def added(self) -> float:
        return max(0.0, self.ours - self.library)


def cost(subject: Subject, library: Tokenizer, kind: str, text: str, repetitions: int) -> Cost:
    """Returns the cost of one message.

    Args:
        subject: the tokenizer with a chat template.
        library: a separate tokenizer object of the library. Its settings are changed.
        kind: name of the message in results.
        text: the message.
        repetitions: number of runs for CPU time, of which the fastest counts. The time for which the GIL is held is
            measured again while it is above 2 ms, at most `repetitions` + 5 times, and the shortest time counts.
    """
    rendered = subject.rendered(text)
    alone = []
    for special in (False, True):
        library.encode_special_tokens = special
        alone.append(_cpu(lambda: library.encode(rendered, add_special_tokens=False).ids, repetitions))
    ours = _cpu(lambda: subject.ours(text), repetitions)
    stops = (longest_stop(lambda: subject.ours(text)) for _ in range(repetitions + _MORE))
    stop = next(stops)
    while stop > _DOUBTFUL and (again := next(stops, None)) is not None:
        stop = min(stop, again)
    return Cost(kind, ours, max(alone), stop)


def longest_stop(action: Callable[[], object]) -> float:
    """Returns the longest time, in milliseconds, for which `action` used the CPU while a second thread could not run.

    Only CPU time of this thread counts, so other processes do not add to the result.
    """
    clock, longest, running = time.pthread_getcpuclockid(threading.get_ident()), 0.0, threading.Event()

    def tick() -> None:
        nonlocal longest
        before = time.clock_gettime(clock)
        running.set()
        while running.is_set():
            time.sleep(SWITCH)
            now = time.clock_gettime(clock)
            longest, before = max(longest, now - before), now

    with _switching_often():
        worker = threading.Thread(target=tick)
        worker.start()
        running.wait()
        try:
            action()
        finally:
            running.clear()
            worker.join()
    return longest * 1e3


@contextmanager
def _switching_often() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(SWITCH)
    try:
        yield
    finally:
        sys.setswitchinterval(before)


def _cpu(action: Callable[[], object], repetitions: int) -> float:
    """Returns the least CPU time of `repetitions` runs of an action, in milliseconds."""
    least = float("inf")
    for _ in range(repetitions):
        start = time.process_time()
        action()
        least = min(least, time.process_time() - start)
    return least * 1e3
