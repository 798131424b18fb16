"""Measures how long the device takes for each step, from when steps are dispatched and when their results arrive."""

from __future__ import annotations

import time
from collections.abc import Callable

from jaxchat.engine.scheduler import Step

_AT_ONCE = 1e-4  # seconds: a result that takes less was there before the host waited for it


class StepTimer:
    """A clock of steps. A step begins when the step before it ends, or when it is dispatched to an idle device.

    It ends with its result. If no other step was dispatched meanwhile, it ends when the next one is: the device has
    waited for the host. A step whose end was not seen, because the host was late, does not count, and neither does the
    next one.
    """

    def __init__(self, took: Callable[[Step, float], None]) -> None:
        """Starts while the device is idle.

        Args:
            took: called with each step that counts, and its seconds.
        """
        self._took = took
        self._began: float | None = None  # when the running step began; None: unknown
        self._awaiting: Step | None = None  # has ended, and no step has followed yet

    def dispatched(self) -> None:
        """Tells that a step was dispatched while no other was in flight."""
        now = time.perf_counter()
        if self._awaiting and self._began is not None:
            self._took(self._awaiting, now - self._began)
        self._awaiting, self._began = None, now

    def ended(self, step: Step, waited: float, more: bool) -> None:
        """Tells that the result of a step is there.

        Args:
            step: the step.
            waited: seconds that the host waited for the result.
            more: whether other steps are in flight.
        """
        if not more:
            self._awaiting = step
            return
        now = time.perf_counter()
        seen = waited > _AT_ONCE
        if seen and self._began is not None:
            self._took(step, now - self._began)
        self._began = now if seen else None

    def idle(self) -> None:
        """Tells that there is nothing to do for the device."""
        self._awaiting, self._began = None, None
