"""Sends requests at a load, and watches whether this process keeps up."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from random import Random

from serving.bench.prompts import Body
from serving.bench.request import Timing

Send = Callable[[Body, float | None], Awaitable[Timing]]
_BEAT = 0.01  # seconds between two looks at the loop


async def open_loop(send: Send, bodies: Sequence[Body], rate: float, rng: Random) -> list[Timing]:
    """Sends requests at random moments, independent of answers. Returns their times in the order of sending.

    The moments are those of a Poisson process with exactly `len(bodies)` arrivals in `len(bodies) / rate` seconds.

    Args:
        send: sends a request. Its second argument is when the request is due, in seconds of `time.perf_counter`.
        bodies: the requests.
        rate: requests a second.
        rng: decides the moments.
    """
    begin, running = time.perf_counter(), []
    moments = sorted(rng.uniform(0, len(bodies) / rate) for _ in bodies)
    for body, moment in zip(bodies, moments, strict=True):
        due = begin + moment
        await asyncio.sleep(due - time.perf_counter())
        running.append(asyncio.ensure_future(send(body, due)))
    return list(await asyncio.gather(*running))


async def closed_loop(send: Send, bodies: Sequence[Body], concurrency: int) -> list[Timing]:
    """Keeps `concurrency` requests open until all are answered. Returns their times in the order of sending."""
    timings: list[Timing] = []
    waiting = iter(bodies)

    async def work() -> None:
        for body in waiting:
            timings.append(await send(body, None))

    await asyncio.gather(*(work() for _ in range(concurrency)))
    return sorted(timings, key=lambda timing: timing.sent)


@dataclass
class GeneratorWatch:
    """The load of this process while it sent requests.

    Attributes:
        delays: seconds by which the asyncio loop was late, measured about every 10 ms. Tokens that arrive meanwhile are
            noted late.
        busy: fraction of one processor that this process used.
    """

    delays: list[float] = field(default_factory=list)
    busy: float = 0.0


@asynccontextmanager
async def watching() -> AsyncIterator[GeneratorWatch]:
    """Yields a watch of this process. The figures of the watch are complete when the context ends."""
    watch = GeneratorWatch()
    began, used = time.perf_counter(), time.process_time()
    beats = asyncio.ensure_future(_beat(watch.delays))
    try:
        yield watch
    finally:
        beats.cancel()
        watch.busy = (time.process_time() - used) / (time.perf_counter() - began)


async def _beat(delays: list[float]) -> None:
    while True:
        due = time.perf_counter() + _BEAT
        await asyncio.sleep(_BEAT)
        delays.append(max(time.perf_counter() - due, 0.0))
