"""Measures what text and transport cost: compares the tokens per second of the bare engine, a session, gRPC and REST.

`python -m tools.bench.overhead --streams 32` alternates these loads, several times:

- engine: the engine alone generates token ids;
- session: a session in this process answers chat streams;
- gRPC and REST: a separate server process answers the same streams, and this process reads them.

Prints the median tokens per second of each load as a Markdown table.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable
from typing import Any

import httpx

from jaxchat.api import load_async
from jaxchat.chat.prompt.build import prompt_tokens
from jaxchat.chat.prompt.template_files import load_template
from jaxchat.chat.prompt.tokenizer import load_tokenizer
from jaxchat.chat.request.tool_choice import ToolChoice
from jaxchat.client import AsyncClient
from jaxchat.config import EngineConfig
from jaxchat.engine.engine import Engine
from jaxchat.engine.scheduler import Scheduler
from jaxchat.model_directory import find
from jaxchat.openai_json import request_from_kwargs
from jaxchat.runtime.load import load_runner
from jaxchat.types import GenerateRequest, SamplingParams, TokenEvent
from tools.server_process import ServerProcess

MESSAGES = [{"role": "user", "content": "Tell me what jaxchat is, how to start it, and how to call it. " * 2}]


class Bare:
    """An engine that takes and returns token ids.

    Args:
        model: "bundled", a model directory or a hub id.
        slots: number of slots.

    Attributes:
        bans: logit biases, as pairs of token id and bias, that exclude all stop tokens.
    """

    def __init__(self, model: str, slots: int) -> None:
        directory = find(model)
        template = load_template(directory)
        tokenizer = load_tokenizer(directory, template)
        loaded = load_runner(directory, EngineConfig(slots=slots), valid=tokenizer.size, text_digest="")
        scheduler = Scheduler(**loaded.scheduling)
        self._engine = Engine(loaded.runner, scheduler, queue_limit=1 << 20)
        request, context = request_from_kwargs(messages=MESSAGES).request, loaded.sizes.max_seq_len
        self._prompt = prompt_tokens(request, ToolChoice(), template, tokenizer, context, tokenizer.size)
        self.bans = tuple((token, -100.0) for token in sorted(tokenizer.stop_tokens))
        self._left, self._ended = 0, asyncio.Event()
        loop = asyncio.get_running_loop()
        self._engine.start(lambda events: self._count(events, loop))

    async def run(self, streams: int, tokens: int) -> None:
        """Generates `tokens` tokens in each of `streams` sequences."""
        self._left = streams * tokens
        self._ended.clear()
        for seed in range(streams):
            sampling = SamplingParams(seed=seed, logit_bias=self.bans)
            self._engine.submit(GenerateRequest(prompt=self._prompt, max_tokens=tokens, sampling=sampling))
        await self._ended.wait()

    def stop(self) -> None:
        self._engine.stop()

    def _count(self, events: list[TokenEvent], loop: asyncio.AbstractEventLoop) -> None:
        self._left -= len(events)
        if not self._left:
            loop.call_soon_threadsafe(self._ended.set)


class Streams:
    """The load of `Bare` as chat streams, through a session, gRPC or REST.

    Args:
        model: id of the model.
        streams: number of streams at once.
        tokens: tokens of each answer.
        bans: logit biases of each stream, as pairs of token id and bias.
    """

    def __init__(self, model: str, streams: int, tokens: int, bans: tuple[tuple[int, float], ...]) -> None:
        self._count = streams
        self._fields: dict[str, Any] = {"model": model, "messages": MESSAGES, "max_tokens": tokens, "stream": True}
        self._fields["logit_bias"] = {str(token): bias for token, bias in bans}

    async def typed(self, door: AsyncClient) -> None:
        await asyncio.gather(*(self._typed(door, seed) for seed in range(self._count)))

    async def rest(self, http: httpx.AsyncClient) -> None:
        await asyncio.gather(*(self._rest(http, seed) for seed in range(self._count)))

    async def _typed(self, door: Any, seed: int) -> None:
        finish = None
        async for chunk in await door.chat.completions.create(**self._fields, seed=seed):
            finish = finish or chunk.choices[0].finish_reason
        assert finish

    async def _rest(self, http: httpx.AsyncClient, seed: int) -> None:
        size, tail = 0, b""
        async with http.stream("POST", "/chat/completions", json=self._fields | {"seed": seed}) as reply:
            async for part in reply.aiter_raw():
                size, tail = size + len(part), (tail + part)[-20:]
        assert size and tail.endswith(b"data: [DONE]\n\n"), tail


async def timed(work: Awaitable[None], tokens: int) -> float:
    """Awaits `work`, which generates `tokens` tokens, and returns tokens per second."""
    began = time.perf_counter()
    await work
    return tokens / (time.perf_counter() - began)


async def measure(args: argparse.Namespace, server: ServerProcess) -> dict[str, list[float]]:
    """Returns for each load the tokens per second of each repetition.

    Before the repetitions, runs each load once without measuring it.

    Args:
        args: the flags of the command line.
        server: a server with the same model and number of slots.
    """
    bare, total = Bare(args.model, args.slots), args.streams * args.tokens
    limits = httpx.Limits(max_connections=None)
    async with (
        await load_async(args.model, slots=args.slots) as local,
        AsyncClient(server.grpc) as client,
        httpx.AsyncClient(base_url=server.rest, trust_env=False, timeout=None, limits=limits) as http,
    ):
        streams = Streams(server.model, args.streams, args.tokens, bare.bans)
        ways: dict[str, Callable[[], Awaitable[None]]] = {
            "engine": lambda: bare.run(args.streams, args.tokens),
            "session": lambda: streams.typed(local),
            "gRPC": lambda: streams.typed(client),
            "REST": lambda: streams.rest(http),
        }
        results: dict[str, list[float]] = {way: [] for way in ways}
        for repetition in range(-1, args.repetitions):  # the first one warms up
            for way, run in ways.items():
                rate = await timed(run(), total)
                if repetition >= 0:
                    results[way].append(rate)
    bare.stop()
    return results


def table(results: dict[str, list[float]]) -> str:
    """Returns a Markdown table with each load's median, its ratio to the engine's median, and the spread."""
    base = statistics.median(results["engine"])
    rows = [
        f"| {way} | {statistics.median(rates):,.0f} | {statistics.median(rates) / base:.3f} |"
        f" {min(rates):,.0f} to {max(rates):,.0f} |"
        for way, rates in results.items()
    ]
    return "\n".join(["| way | tokens/s | of the engine's | spread |", "|---|---|---|---|", *rows])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="bundled")
    parser.add_argument("--slots", type=int, default=32)
    parser.add_argument("--streams", type=int, default=32)
    parser.add_argument("--tokens", type=int, default=128)
    parser.add_argument("--repetitions", type=int, default=5)
    args = parser.parse_args()
    with ServerProcess("--model", args.model, "--slots", str(args.slots), "--startup-prompt", "none") as server:
        results = asyncio.run(measure(args, server))
    print(f"{args.streams} streams of {args.tokens} tokens, {args.slots} slots, {args.repetitions} repetitions\n")
    print(table(results))


if __name__ == "__main__":
    main()
