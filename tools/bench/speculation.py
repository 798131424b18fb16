"""Measures what draft tokens save on everyday tasks: `python -m tools.bench.speculation --model FILE`

One engine in this process answers each task with drafts and without, in turn, so that a slow machine slows both ways.
Every request first runs once unmeasured, so that its prompt is in the prefix cache. A task has four requests. With more
than four users, some requests are sent several times. The answers must be equal. The exit status is 1 if they are not.

The table compares both ways by tokens per second, with the ratio, and by the longest gap between successive tokens of
an answer (95th percentile). For drafts, the table also has the tokens of a sequence in one step, and the share of
drafts that were right.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jaxchat
from jaxchat.client import AsyncClient
from jaxchat.config import MAX_DRAFTS, EngineConfig
from serving.cli.flags import add_flags, from_flags
from tools.bench.plots import draw_ratios
from tools.bench.report import put
from tools.bench.tasks import TASKS, Request

HEAD = ("task", "users", "tokens/s, off", "tokens/s, auto", "ratio", "tokens/step", "accepted", "gap ms, off", "auto")


@dataclass(frozen=True)
class Run:
    """One pass over the requests of a task.

    Attributes:
        answers: token ids of each answer.
        seconds: from the first request to the last token.
        gaps: for each answer, the longest time between successive tokens, in seconds.
        drafts: drafts that were checked.
        accepted: drafts that were right.
    """

    answers: list[list[int]]
    seconds: float
    gaps: list[float]
    drafts: int
    accepted: int

    @property
    def speed(self) -> float:
        """Tokens per second of all users together."""
        return sum(map(len, self.answers)) / self.seconds

    @property
    def tokens_per_step(self) -> float:
        """Mean number of tokens that a sequence gets in a step."""
        tokens = sum(map(len, self.answers))
        return tokens / max(tokens - self.accepted, 1)


async def answer(client: AsyncClient, model: str, request: Request) -> tuple[list[int], float]:
    """Returns the token ids of an answer, and the longest time between successive tokens, in seconds."""
    tokens: list[int] = []
    gap, last = 0.0, None
    create: Any = client.chat.completions.create
    async for chunk in await create(**request.fields(model), stream=True, return_token_ids=True):
        now = time.perf_counter()
        for choice in chunk.choices:
            if choice.token_ids:
                gap, last = max(gap, now - last if last else 0.0), now
                tokens += choice.token_ids
    return tokens, gap


async def run(client: AsyncClient, model: str, requests: list[Request], users: int) -> Run:
    """Sends the requests, `users` at a time, and returns the answers and measurements."""
    stats, waiting = client.transport.session.stats, list(enumerate(requests))
    answers: dict[int, tuple[list[int], float]] = {}

    async def user() -> None:
        while waiting:
            index, request = waiting.pop(0)
            answers[index] = await answer(client, model, request)

    began = time.perf_counter()
    await asyncio.gather(*(user() for _ in range(users)))
    seconds, now = time.perf_counter() - began, client.transport.session.stats
    found = [answers[index] for index in range(len(requests))]
    return Run(
        answers=[tokens for tokens, _ in found],
        seconds=seconds,
        gaps=[gap for _, gap in found],
        drafts=now.drafts - stats.drafts,
        accepted=now.accepted_drafts - stats.accepted_drafts,
    )


async def measure(args: argparse.Namespace) -> tuple[list[tuple[Any, ...]], bool]:
    """Returns the rows of the table, and whether all answers were equal."""
    rows, equal = [], True
    async with await jaxchat.load_async(args.model, config=from_flags(args, EngineConfig)) as client:
        session: Any = client.transport.session
        for task in args.tasks:
            requests = TASKS[task]()
            await run(client, session.model_id, list(requests), 1)
            for users in args.users:
                several = [requests[index % len(requests)] for index in range(max(users, len(requests)))]
                runs: dict[int, list[Run]] = {0: [], MAX_DRAFTS: []}
                for _ in range(args.repetitions):
                    for limit, seen in runs.items():
                        session.engine.limit_drafts(limit)
                        seen.append(await run(client, session.model_id, several, users))
                off, auto = runs.values()
                equal &= all(one.answers == off[0].answers for one in (*off, *auto))
                rows.append(_row(task, users, off, auto))
                print("| " + " | ".join(map(str, rows[-1])) + " |", file=sys.stderr, flush=True)
    return rows, equal


def _row(task: str, users: int, off: list[Run], auto: list[Run]) -> tuple[Any, ...]:
    ratio = statistics.median(b.speed / a.speed for a, b in zip(off, auto, strict=True))
    drafts, accepted = (sum(getattr(one, name) for one in auto) for name in ("drafts", "accepted"))
    return (
        task,
        users,
        f"{statistics.median(one.speed for one in off):.1f}",
        f"{statistics.median(one.speed for one in auto):.1f}",
        f"{ratio:.2f}",
        f"{statistics.median(one.tokens_per_step for one in auto):.2f}",
        f"{100 * accepted / drafts:.0f} %" if drafts else "no drafts",
        *(f"{1000 * _percentile([gap for one in runs for gap in one.gaps], 95):.0f}" for runs in (off, auto)),
    )


def _percentile(values: list[float], percent: int) -> float:
    return sorted(values)[min(len(values) - 1, len(values) * percent // 100)]


def main() -> int:
    """Runs the command line. Returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="tools.bench.speculation", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", required=True, help="model directory or GGUF file")
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=[*TASKS])
    parser.add_argument("--users", type=int, nargs="+", default=[1, 4, 8, 32])
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--document", type=Path, help="gets the table and, in a folder beside it, a plot")
    parser.add_argument("--name", default="a model", help="what the document calls the model")
    add_flags(parser, EngineConfig, "engine")
    parser.set_defaults(slots=32, max_seq_len=2048)
    args = parser.parse_args()
    rows, equal = asyncio.run(measure(args))
    lines = [f"| {' | '.join(map(str, row))} |" for row in (HEAD, ["---"] * len(HEAD), *rows)]
    text = "\n".join(lines)
    print(text if equal else f"{text}\n\nAnswers differ.")
    if args.document:
        ratios = {(row[0], int(row[1])): float(row[4]) for row in rows}
        picture = draw_ratios(ratios, args.document.with_suffix("") / f"speculation-{args.name}.png")
        link = f"![Speed with drafts]({picture.relative_to(args.document.parent)})"
        put(args.document, f"tools.bench.speculation {args.name}", f"{text}\n\n{link}")
    return int(not equal)


if __name__ == "__main__":
    sys.exit(main())
