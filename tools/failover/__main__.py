"""Kills servers under load, and compares every answer bit for bit: `python -m tools.failover --requests 300 --kills 6`.

Starts two replicas and `jaxchat rest` in front of them. Random requests, plain and streamed, go through the REST
process with the `openai` package, and through the asyncio and the blocking client. Meanwhile a random replica is
killed or stopped, and started again, several times. The exit status is 1 if a request fails, or if an answer differs
from an undisturbed one.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import signal
import sys
import traceback
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from random import Random
from typing import Any

import openai

from jaxchat.client import AsyncClient, Client
from tools.determinism.answers import Answer, from_chunks, from_completion
from tools.determinism.requests import Request, RequestSpace, random_request
from tools.determinism.ways import Ask, asking
from tools.server_process import ServerProcess

TOOL = {
    "type": "function",
    "function": {"name": "look_up", "parameters": {"type": "object", "properties": {"word": {"type": "string"}}}},
}


class Replicas:
    """Two server processes on fixed ports.

    Args:
        flags: flags of both servers.
    """

    def __init__(self, flags: list[str]) -> None:
        self._flags = flags
        self.servers = [ServerProcess(*flags) for _ in range(2)]
        self.targets = [server.grpc for server in self.servers]
        self.ends: Counter[str] = Counter()
        self.running = 0  # sequences that were running on servers when the servers were ended

    def end(self, index: int, number: signal.Signals) -> None:
        """Ends a server by a signal, and waits for it."""
        server = self.servers[index]
        with suppress(Exception):
            self.running += int(server.load()["num_requests_running"])
        server.send(number)
        self.ends[number.name] += 1

    def start(self, index: int) -> None:
        """Starts a server again, on its port, and waits until it is ready."""
        port = self.targets[index].rpartition(":")[2]
        self.servers[index] = ServerProcess(*self._flags, "--grpc-port", port)

    def stop(self) -> None:
        for server in self.servers:
            if server.alive:
                server.stop()


def requests_of(args: argparse.Namespace, rng: Random) -> list[Request]:
    """Returns random requests. Some force calls of a tool."""
    space = RequestSpace(model=args.name, vocab=args.vocab, longest=args.longest, words=20)
    requests = [random_request(rng, space) for _ in range(args.different)]
    for request in requests[::5]:
        for name in ("structured_outputs", "ignore_eos", "min_tokens"):
            request.pop(name, None)
        request |= {"tools": [TOOL], "tool_choice": "required"}
    return requests


def blocking(client: Client, stream: bool) -> Ask:
    """Returns a function that sends a request with the blocking client, in a thread."""

    def ask(request: Request) -> Answer:
        answer: Any = client.chat.completions.create(**request, stream=stream)
        return from_chunks(answer) if stream else from_completion(answer)

    return lambda request: asyncio.to_thread(ask, request)


async def disturb(replicas: Replicas, kills: int, seconds: float, rng: Random, done: asyncio.Event) -> None:
    """Waits, ends a random server and starts it again. Repeats this `kills` times, then sets `done`.

    The wait begins when both servers are ready, and takes 0.2 to 1 times `seconds`.
    """
    for kill in range(kills):
        await asyncio.sleep(rng.uniform(0.2, 1) * seconds)
        index = rng.randrange(2)
        number = signal.SIGTERM if kill % 4 == 3 else signal.SIGKILL
        await asyncio.to_thread(replicas.end, index, number)
        await asyncio.to_thread(replicas.start, index)
        print(f"{kill + 1} of {kills} servers ended and started again", file=sys.stderr, flush=True)
    done.set()


async def compare(
    asks: list[tuple[str, Ask]], requests: list[Request], expected: list[Answer], args: argparse.Namespace,
    done: asyncio.Event,
) -> Counter[str]:  # fmt: skip
    """Sends requests until `done` is set and at least `args.requests` were sent. Compares answers with `expected`.

    Returns:
        "requests": number of requests. Names in `asks`: number of requests sent in that way. "lost": number of requests
        that failed. "different": number of answers that differ.
    """
    counts: Counter[str] = Counter()
    numbers = itertools.count()

    async def worker() -> None:
        while (number := next(numbers)) < args.requests or not done.is_set():
            index, (way, ask) = number % len(requests), asks[number % len(asks)]
            counts["requests"] += 1
            counts[way] += 1
            try:
                same = await ask(requests[index]) == expected[index]
            except Exception:
                traceback.print_exc()
                counts["lost"] += 1
                continue
            counts["different"] += not same

    await asyncio.gather(*(worker() for _ in range(args.at_once)))
    return counts


async def run(args: argparse.Namespace) -> dict[str, Any]:
    """Runs everything and returns the result as JSON values."""
    rng = Random(args.seed)
    replicas = await asyncio.to_thread(Replicas, [*args.flags, "--shutdown-grace", "0.2", "--startup-prompt", "none"])
    try:
        with await asyncio.to_thread(ServerProcess, "--backend", *replicas.targets, command="rest") as front:
            counts = await exercise(replicas, front, args, rng)
    finally:
        replicas.stop()
    return {"lost": 0, "different": 0} | dict(counts) | {"ended": dict(replicas.ends), "running then": replicas.running}


async def exercise(replicas: Replicas, front: ServerProcess, args: argparse.Namespace, rng: Random) -> Counter[str]:
    """Asks one undisturbed server, then compares answers while servers are ended. Returns the counts of `compare`."""
    args.name = replicas.servers[0].model
    requests, done = requests_of(args, rng), asyncio.Event()
    async with AsyncClient(replicas.targets[0]) as alone:
        expected = [await asking(alone, False)(request) for request in requests]
    rest = openai.AsyncOpenAI(base_url=front.rest, api_key="none", max_retries=0, timeout=300)
    with Client(",".join(replicas.targets)) as client:
        async with rest, AsyncClient(replicas.targets) as native:
            asks = [
                (f"{name} {'stream' if stream else 'plain'}", make(stream))
                for name, make in ways(rest, native, client)
                for stream in (True, False)
            ]
            disturbing = asyncio.create_task(disturb(replicas, args.kills, args.pause, rng, done))
            counts = await compare(asks, requests, expected, args, done)
            await disturbing
    return counts


def ways(rest: openai.AsyncOpenAI, native: AsyncClient, client: Client) -> list[tuple[str, Callable[[bool], Ask]]]:
    """Returns the ways to send requests: the name of each, and a function of `stream` that returns an `Ask`."""
    return [
        ("openai", lambda stream: asking(rest, stream)),
        ("asyncio", lambda stream: asking(native, stream)),
        ("blocking", lambda stream: blocking(client, stream)),
    ]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=300, help="least number of requests")
    parser.add_argument("--different", type=int, default=60, help="number of different requests")
    parser.add_argument("--kills", type=int, default=6, help="number of servers to end")
    parser.add_argument("--pause", type=float, default=8.0, help="most seconds between a start and the next end")
    parser.add_argument("--at-once", type=int, default=12, help="number of requests at once")
    parser.add_argument("--longest", type=int, default=150, help="most tokens of an answer")
    parser.add_argument("--vocab", type=int, default=1000, help="token ids to choose from")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("flags", nargs="*", help="flags of the servers, after --")
    result = asyncio.run(run(parser.parse_args()))
    print(json.dumps(result, indent=1))
    return 1 if result["lost"] or result["different"] else 0


if __name__ == "__main__":
    sys.exit(main())
