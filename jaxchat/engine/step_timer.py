"""Measures how long each step takes on the device, from the times of its dispatch and of its result."""

from __future__ import annotations

import time
from collections.abc import Callable

from jaxchat.engine.scheduler import Step

_AT_ONCE = 1e-4  # seconds: a result that takes less was there before the host waited for it


class StepTimer:
    """A clock that measures how long steps take.

    A step begins when the step before it ends. If no other step is in flight, it begins when it is dispatched.

    The end of a step depends on whether another step is in flight when the result of the step arrives:

    - If so, the step ends when its result arrives. However, if the result was there before the host waited for it, the
      end of the step is unknown. Then neither this step nor the next one counts.
    - If not, the step ends when the next step is dispatched, because the device waits for the host until then.
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
        """Records that a step was dispatched while no other was in flight."""
        now = time.perf_counter()
        if self._awaiting and self._began is not None:
            self._took(self._awaiting, now - self._began)
        self._awaiting, self._began = None, now

    def ended(self, step: Step, waited: float, more: bool) -> None:
        """Records that the result of a step has arrived.

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
        """Records that the device has nothing to do."""
        self._awaiting, self._began = None, None
