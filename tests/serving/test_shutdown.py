"""The server waits for whichever event comes first, and a wait that fails leaves nothing in the log."""

from __future__ import annotations

import asyncio
import gc
import logging

import pytest

from serving.shutdown import first


async def failing() -> None:
    raise ConnectionError("the backend is gone")


async def test_the_first_end_cancels_the_other_waits() -> None:
    cancelled = asyncio.Event()

    async def waiting() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    await asyncio.wait_for(first(asyncio.sleep(0), waiting()), 10)
    assert cancelled.is_set()


async def test_exceptions_of_waits_are_ignored(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR, "asyncio"):
        await asyncio.wait_for(first(failing(), asyncio.Event().wait()), 10)
        gc.collect()  # asyncio reports an exception that nobody took when its task is collected
        await asyncio.sleep(0)
    assert not caplog.records
