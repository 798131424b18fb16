"""The tool that kills servers finds lost requests and answers that differ."""

from __future__ import annotations

import asyncio
from argparse import Namespace
from random import Random

from tools.determinism.answers import Answer, Choice
from tools.determinism.requests import Request
from tools.failover.__main__ import compare, requests_of

ARGS = Namespace(name="m", vocab=300, longest=20, different=20, requests=12, at_once=4)


async def test_what_is_lost_and_what_differs_is_counted() -> None:
    requests = requests_of(ARGS, Random(1))
    expected: list[Answer] = [{0: Choice(text=str(index))} for index in range(len(requests))]
    done = asyncio.Event()
    done.set()

    async def right(request: Request) -> Answer:
        return {0: Choice(text=str(requests.index(request)))}

    async def wrong(request: Request) -> Answer:
        return {0: Choice(text="other")}

    async def lost(request: Request) -> Answer:
        raise ConnectionError

    counts = await compare([("a", right), ("b", wrong), ("c", lost)], requests, expected, ARGS, done)
    assert (counts["requests"], counts["lost"], counts["different"]) == (12, 4, 4)


def test_requests_have_seeds_and_some_call_tools() -> None:
    requests = requests_of(ARGS, Random(1))
    assert all("seed" in request for request in requests)
    assert sum("tools" in request for request in requests) == 4
