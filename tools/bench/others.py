"""Measures the processor time of other processes during a case, so that disturbed figures can be recognised."""

from __future__ import annotations

import os
import time

import psutil


class Others:
    """A meter of the processor time that other processes use. The constructor starts it."""

    def __init__(self) -> None:
        self._began = self.seconds()

    def share(self) -> float:
        """Returns the fraction of all processor time that other processes used since the start, from 0 to 1.

        Children of this process do not count as others.
        """
        wall, all_, own = (now - then for now, then in zip(self.seconds(), self._began, strict=True))
        return min(max((all_ - own) / (wall * (os.cpu_count() or 1)), 0.0), 1.0)

    @staticmethod
    def seconds() -> tuple[float, float, float]:
        """Returns three times in seconds: the clock, the processor time of all processes, and that of this process.

        The time of this process includes that of its children.
        """
        times = psutil.cpu_times()
        idle = times.idle + getattr(times, "iowait", 0.0)
        guest = getattr(times, "guest", 0.0) + getattr(times, "guest_nice", 0.0)  # counted in user already
        me = psutil.Process()
        own = sum(_seconds(process) for process in (me, *me.children(recursive=True)))
        return time.perf_counter(), sum(times) - idle - guest, own


def _seconds(process: psutil.Process) -> float:
    try:
        times = process.cpu_times()
    except psutil.NoSuchProcess:
        return 0.0
    return float(times.user + times.system)
