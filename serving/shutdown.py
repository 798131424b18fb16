"""Shutdown of a serving process: signals, and draining of running answers."""

from __future__ import annotations

import asyncio
import signal
import sys
import time
from collections.abc import Coroutine
from typing import Any, Protocol


async def first(*waits: Coroutine[Any, Any, object]) -> None:
    """Waits until one of `waits` has ended, then cancels the others and waits until they have ended.

    Ignores all exceptions of `waits`.
    """
    tasks = [asyncio.ensure_future(wait) for wait in waits]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class Drained(Protocol):
    """A backend that can be drained."""

    async def drain(self, shutdown_grace: float) -> None: ...


def stop_signal() -> asyncio.Event:
    """Returns an event that the first SIGINT or SIGTERM sets. A second signal of the same kind ends the process."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def on_signal(number: signal.Signals) -> None:
        loop.remove_signal_handler(number)
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, on_signal, number)
    return stop


async def drain(backend: Drained, shutdown_grace: float) -> float:
    """Drains `backend` for at most `shutdown_grace` seconds. Returns the number of these seconds that remain."""
    print("Stopping: running answers may finish.", file=sys.stderr, flush=True)
    end = time.monotonic() + shutdown_grace
    await backend.drain(shutdown_grace)
    return max(end - time.monotonic(), 0.0)
