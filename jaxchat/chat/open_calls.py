"""Counting what is open, to wait for its end."""

from __future__ import annotations

import asyncio
from contextlib import suppress


class OpenCalls:
    """How many calls are open, on one asyncio loop."""

    def __init__(self) -> None:
        self._count = 0
        self._none = asyncio.Event()
        self._none.set()

    def enter(self) -> None:
        self._count += 1
        self._none.clear()

    def leave(self) -> None:
        self._count -= 1
        if not self._count:
            self._none.set()

    async def wait(self, seconds: float) -> None:
        """Returns when none is open, after `seconds` at the latest."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._none.wait(), seconds)
