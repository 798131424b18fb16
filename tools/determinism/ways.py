"""The ways to send requests: in process, over gRPC or REST, plain or streamed, alone or under load."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from random import Random
from typing import Any

import openai
from openai.resources.chat.completions import AsyncCompletions

from jaxchat.client import AsyncClient
from tools.determinism.answers import Answer, from_chunks, from_completion
from tools.determinism.requests import Request, neighbour

_OPENAI_PARAMETERS = inspect.signature(AsyncCompletions.create).parameters
Ask = Callable[[Request], Awaitable[Answer]]


def asking(client: AsyncClient | openai.AsyncOpenAI, stream: bool) -> Ask:
    """Returns a function that sends a request with `client` and returns the answer."""
    create: Any = client.chat.completions.create
    extended = isinstance(client, openai.AsyncOpenAI)

    async def ask(request: Request) -> Answer:
        answer: Any = await create(**(_with_extra_body(request) if extended else request), stream=stream)
        return from_chunks([chunk async for chunk in answer]) if stream else from_completion(answer)

    return ask


def _with_extra_body(request: Request) -> Request:
    """Returns a request as arguments for the `openai` package: extensions of the API are in `extra_body`."""
    own = {name: value for name, value in request.items() if name in _OPENAI_PARAMETERS}
    return own | {"extra_body": {name: value for name, value in request.items() if name not in own}}


async def alone(client: AsyncClient, requests: Sequence[Request]) -> list[Answer]:
    """Runs requests one after the other, each with an empty prefix cache. Returns their answers in order."""
    ask = asking(client, False)
    answers = []
    for request in requests:
        client.transport.session.forget_prefixes()
        answers.append(await ask(request))
    return answers


async def crowded(asks: Sequence[Ask], requests: Sequence[Request], at_once: int, rng: Random) -> list[Answer]:
    """Runs requests in random order, `at_once` at a time, each by a random function of `asks`.

    Returns the answers in the order of `requests`.
    """
    answers: dict[int, Answer] = {}
    order = list(range(len(requests)))
    rng.shuffle(order)

    async def worker() -> None:
        while order:
            index = order.pop()
            answers[index] = await rng.choice(asks)(requests[index])

    await asyncio.gather(*(worker() for _ in range(at_once)))
    return [answers[index] for index in range(len(requests))]


@asynccontextmanager
async def changing(limit_drafts: Callable[[int], None], limits: Sequence[int], rng: Random) -> AsyncIterator[None]:
    """Calls `limit_drafts` every 50 ms inside the `async with` block, each time with a random one of `limits`."""

    async def change() -> None:
        while True:
            limit_drafts(rng.choice(limits))
            await asyncio.sleep(0.05)

    task = asyncio.ensure_future(change())
    await asyncio.sleep(0)
    try:
        yield
    finally:
        task.cancel()


@asynccontextmanager
async def noise(create: Callable[..., Any], model: str, streams: int, words: int, rng: Random) -> AsyncIterator[None]:
    """Keeps `streams` neighbours running inside the `async with` block. Cancels about half of them before their end.

    At the end of the block, raises the first exception of a neighbour, if any.

    Args:
        create: sends a request and returns its stream.
        model: id of the model.
        streams: number of neighbours at once.
        words: maximum number of words of a neighbour's message.
        rng: source of the random neighbours.
    """

    async def one() -> None:
        while True:
            request, left = neighbour(rng, model, words), rng.choice((rng.randint(0, 40), 10_000))
            stream: Any = await create(**request)
            try:
                async for _ in stream:
                    left -= 1
                    if left < 0:
                        break
            finally:
                await _close(stream)

    tasks = [asyncio.ensure_future(one()) for _ in range(streams)]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        failures = [o for o in outcomes if isinstance(o, Exception)]
        if failures:
            raise failures[0]


async def _close(stream: Any) -> None:
    await (stream.aclose() if hasattr(stream, "aclose") else stream.close())
