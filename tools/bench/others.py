"""Measures what other processes take from the machine during a case, so that a disturbed figure shows as one."""

from __future__ import annotations

import os
import time

import psutil


class Others:
    """Watches from when it is made."""

    def __init__(self) -> None:
        self._began = self.seconds()

    def share(self) -> float:
        """Returns the fraction of all processors that other processes used, from 0 to 1.

        Children of this one do not count.
        """
        wall, all_, own = (now - then for now, then in zip(self.seconds(), self._began, strict=True))
        return min(max((all_ - own) / (wall * (os.cpu_count() or 1)), 0.0), 1.0)

    @staticmethod
    def seconds() -> tuple[float, float, float]:
        """Returns seconds: of the clock, of processors in use by all processes, of processors in use by this one."""
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
