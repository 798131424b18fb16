"""Puts a server under load from 2 x (slots + queue places) clients: `python -m tools.soaking --minutes 10`.

Starts a real server process. Requests have one of five manners: 30 % are cancelled, 10 % are read slowly, 20 % have a
deadline, 10 % are malformed, and the clients of 30 % wait patiently.

The exit status is 1 in any of these cases: a request ends in a way that its manner does not allow, the engine is not
idle afterwards, memory grows by more than --allowed-growth, a program is compiled, or the server fails.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import statistics
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from tools.server_process import ServerProcess
from tools.soaking.clients import Clients
from tools.soaking.plan import draw

MIB = 1 << 20
COMPILES = "compiles_after_ready_total"


@dataclass
class Record:
    """A record of one run.

    Attributes:
        ends: number of requests by (protocol, "stream" or "plain", manner, end). The end is "VIOLATION" if the request
            ended in a way that its manner does not allow.
        violations: a line for each request with the end "VIOLATION".
        memory: samples of the server's resident memory, in bytes.
    """

    ends: Counter[tuple[str, str, str, str]] = field(default_factory=Counter)
    violations: list[str] = field(default_factory=list)
    memory: list[int] = field(default_factory=list)

    def note(self, name: tuple[str, str, str], end: str) -> None:
        """Records the end of a request. An end that begins with "!" is a violation."""
        if end.startswith("!"):
            self.violations.append(f"{' '.join(name)}: {end[1:]}")
            end = "VIOLATION"
        self.ends[*name, end] += 1

    def growth(self) -> tuple[float, float]:
        """Returns the median memory of the first and of the last quarter of the samples, in MiB."""
        quarter = max(len(self.memory) // 4, 1)
        return tuple(statistics.median(part) / MIB for part in (self.memory[:quarter], self.memory[-quarter:]))  # type: ignore[return-value]


async def load(server: ServerProcess, record: Record, args: argparse.Namespace) -> None:
    """Runs all clients for `args.minutes`, and records the ends of requests and the server's memory."""
    end = time.monotonic() + 60 * args.minutes
    clients = Clients(server.rest, server.grpc)

    async def client(number: int) -> None:
        rng = random.Random(f"{args.seed}:{number}")
        while time.monotonic() < end:
            plan = draw(rng, server.model)
            record.note(plan.name, await clients.execute(plan))

    async def watch() -> None:
        while time.monotonic() < end and server.alive:
            record.memory.append(server.memory())
            await asyncio.sleep(min(1.0, 0.6 * args.minutes))

    try:
        await asyncio.gather(watch(), *(client(number) for number in range(2 * (args.slots + args.max_queued))))
    finally:
        await clients.close()


def judge(record: Record, idle: bool, compiles: float, code: int, allowed: float) -> dict[str, Any]:
    """Returns the result of the run as JSON values, including a list of violations.

    Args:
        record: the ends of requests and the samples of memory.
        idle: whether the engine became idle after the load.
        compiles: number of programs compiled after ready.
        code: the server's exit status.
        allowed: maximum growth of memory, in MiB.
    """
    first, last = record.growth()
    flat = last <= first + allowed
    problems = [*record.violations]
    problems += [] if idle else ["the load did not return to zero"]
    problems += [] if compiles == 0 else [f"{compiles:.0f} programs were compiled after ready"]
    problems += [] if flat else [f"memory grew from {first:.0f} to {last:.0f} MiB"]
    problems += [] if code == 0 else [f"the server ended with {code}"]
    return {
        "requests": sum(record.ends.values()),
        "ends": {" ".join(key): count for key, count in sorted(record.ends.items())},
        "idle_afterwards": idle,
        "memory_first_quarter_mib": round(first, 1),
        "memory_last_quarter_mib": round(last, 1),
        "compiles_after_ready": compiles,
        "exit_code": code,
        "violations": problems,
    }


def run(args: argparse.Namespace) -> int:
    record = Record()
    flags = [
        "--model",
        args.model,
        "--slots",
        str(args.slots),
        "--max-queued",
        str(args.max_queued),
        "--startup-prompt",
        "none",
    ]
    with ServerProcess(*flags) as server:
        asyncio.run(load(server, record, args))
        idle = server.alive and server.becomes_idle()
        compiles = server.metrics(COMPILES).get(COMPILES, -1.0) if server.alive else -1.0
        code = server.stop() if server.alive else -1
    result = judge(record, idle, compiles, code, args.allowed_growth)
    print(f"{'protocol':8} {'form':6} {'manner':9} {'end':10} count")
    for (protocol, form, manner, end), count in sorted(record.ends.items()):
        print(f"{protocol:8} {form:6} {manner:9} {end:10} {count:5}")
    print(json.dumps(result, indent=2))
    return int(bool(result["violations"]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="bundled")
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--slots", type=int, default=8)
    parser.add_argument("--max-queued", type=int, default=16)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--allowed-growth",
        type=float,
        default=64.0,
        help="maximum growth of memory from the first to the last quarter, in MiB",
    )
    sys.exit(run(parser.parse_args()))


if __name__ == "__main__":
    main()
