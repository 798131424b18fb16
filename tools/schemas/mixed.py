"""Measures how many tokens per second are lost when half of the running requests have constrained answers.

    python -m tools.schemas.mixed

Alternates two loads. In one load, all answers are free. In the other, half of the answers are free, and half are
constrained by a JSON Schema. Every slot stays busy. The free answers must be equal bit for bit under both loads. Prints
medians over the repetitions.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
import time
from random import Random
from typing import Any

from jaxchat.api import load_async
from jaxchat.client import AsyncClient
from tools.schemas.made import random_schema

ASK = [{"role": "user", "content": "Tell me what jaxchat is, how to start it, and how to call it."}]


def free(seed: int) -> dict[str, Any]:
    return {"seed": seed, "max_tokens": 64, "logprobs": True}


def constrained(schemas: list[dict[str, Any]], seed: int) -> dict[str, Any]:
    schema = schemas[seed % len(schemas)]
    return {
        "seed": seed,
        "max_tokens": 64,
        "logprobs": True,
        "response_format": {"type": "json_schema", "json_schema": {"name": "made", "schema": schema}},
    }


async def load(client: AsyncClient, requests: list[dict[str, Any]], at_once: int) -> tuple[float, dict[int, bytes]]:
    """Runs requests. Returns tokens per second, and the serialized free answers by seed.

    Args:
        client: a client of the model.
        requests: fields of each request.
        at_once: number of requests in flight.
    """
    pending, answers, tokens = iter(requests), dict[int, bytes](), 0

    async def worker() -> None:
        nonlocal tokens
        for request in pending:
            reply = await client.chat.completions.create(messages=ASK, **request)
            tokens += reply.usage.completion_tokens
            if "response_format" not in request:
                answers[request["seed"]] = reply.choices[0].proto.SerializeToString(deterministic=True)

    began = time.perf_counter()
    await asyncio.gather(*(worker() for _ in range(at_once)))
    return tokens / (time.perf_counter() - began), answers


async def run(args: argparse.Namespace) -> int:
    """Alternates the free and the mixed load.

    Returns 1 if a free answer differs between the loads or a program was compiled after ready, otherwise 0.
    """
    chance = Random(args.seed)
    async with await load_async(args.model, slots=args.slots) as client:
        schemas = objects(chance, args.schemas)
        plain = [free(seed) for seed in range(args.requests)]
        mixed = [free(seed) if seed % 2 else constrained(schemas, seed) for seed in range(args.requests)]
        rates: dict[str, list[float]] = {"free": [], "mixed": []}
        differing = 0
        for repetition in range(-1, args.repetitions):  # the first one warms up
            rate, expected = await load(client, plain, args.slots * 2)
            other, answers = await load(client, mixed, args.slots * 2)
            differing += sum(expected[seed] != answer for seed, answer in answers.items())
            if repetition >= 0:
                rates["free"].append(rate)
                rates["mixed"].append(other)
        compiles = client.transport.session.compiles_after_ready
    medians = {name: statistics.median(values) for name, values in rates.items()}
    print("| load | tokens/s | of free |\n|---|---|---|")
    for name, median in medians.items():
        print(f"| {name} | {median:,.0f} | {median / medians['free']:.3f} |")
    print(f"\n{differing} free answers differ; {compiles} compiles after ready")
    return int(differing > 0 or compiles > 0)


def objects(chance: Random, count: int) -> list[dict[str, Any]]:
    """Returns `count` random schemas of objects with three members."""
    schemas: list[dict[str, Any]] = []
    while len(schemas) < count:
        parts = [random_schema(chance, 1) for _ in range(3)]
        if "$ref" not in str(parts):
            members = {name: part | {"$defs": {}} for name, part in zip("abc", parts, strict=True)}
            schemas.append({"type": "object", "properties": members, "required": list(members)})
    return schemas


def main() -> int:
    """Runs the command line. Returns the exit status."""
    parser = argparse.ArgumentParser(prog="tools.schemas.mixed", description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="bundled")
    parser.add_argument("--slots", type=int, default=8)
    parser.add_argument("--requests", type=int, default=120)
    parser.add_argument("--schemas", type=int, default=20)
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    return asyncio.run(run(parser.parse_args()))


if __name__ == "__main__":
    sys.exit(main())
