"""The server waits for whichever event comes first, and the waits that it gives up leave nothing behind."""

from __future__ import annotations

import asyncio
import gc
import logging

import pytest

from serving.shutdown import first


async def failing() -> None:
    raise ConnectionError("the backend is gone")


async def failing_when_cancelled() -> None:
    try:
        await asyncio.Event().wait()
    finally:
        raise ConnectionError("the connection broke while it was closed")


async def test_the_other_waits_have_ended() -> None:
    ended = asyncio.Event()

    async def waiting() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    await first(asyncio.sleep(0), waiting())
    assert ended.is_set()


async def test_exceptions_of_waits_are_ignored(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR, "asyncio"):
        await first(failing(), failing_when_cancelled())
        await asyncio.sleep(0)
        gc.collect()  # asyncio reports an exception that nobody took when its task is collected
    assert not caplog.records
