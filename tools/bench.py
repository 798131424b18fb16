"""Throughput and latency of the in-process engine: `python -m tools.bench --model bundled --streams 1 8 32`.

Every stream asks for the same number of tokens and may not end early. Prints the median of the repetitions.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import time
from dataclasses import dataclass

import jaxchat
from jaxchat.api import AsyncChat

PROMPT = "Tell me what jaxchat is, how to start it, and how to call it. " * 4


@dataclass(frozen=True)
class Measured:
    """One repetition: tokens per second over all streams, seconds to the first token and between tokens."""

    throughput: float
    first_token: float
    between_tokens: float


async def one_stream(chat: AsyncChat, tokens: int, seed: int) -> tuple[float, float]:
    """Seconds to the first token and, on average, between tokens."""
    began = time.perf_counter()
    stream = await chat.chat.completions.create(
        messages=[{"role": "user", "content": PROMPT}],
        max_tokens=tokens,
        seed=seed,
        logit_bias=dict.fromkeys(map(str, chat.session.stop_tokens), -100),
        stream=True,
    )
    first = 0.0
    async for chunk in stream:
        if chunk.choices[0].delta.content and not first:
            first = time.perf_counter() - began
    return first, (time.perf_counter() - began - first) / max(tokens - 1, 1)


async def repetition(chat: AsyncChat, streams: int, tokens: int) -> Measured:
    began = time.perf_counter()
    found = await asyncio.gather(*(one_stream(chat, tokens, seed) for seed in range(streams)))
    elapsed = time.perf_counter() - began
    firsts, gaps = zip(*found, strict=True)
    return Measured(streams * tokens / elapsed, statistics.median(firsts), statistics.median(gaps))


async def run(args: argparse.Namespace) -> None:
    async with await jaxchat.load_async(args.model, slots=args.slots, dtype=args.dtype) as chat:
        await repetition(chat, 1, 8)
        print("streams  tokens/s  first token ms  between tokens ms")
        for streams in args.streams:
            runs = [await repetition(chat, streams, args.tokens) for _ in range(args.repetitions)]
            rate, first, gap = (
                statistics.median(getattr(found, name) for found in runs)
                for name in ("throughput", "first_token", "between_tokens")
            )
            print(f"{streams:7}  {rate:8.0f}  {1e3 * first:14.1f}  {1e3 * gap:17.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="bundled")
    parser.add_argument("--dtype", default="float32", choices=("float32", "bfloat16"))
    parser.add_argument("--slots", type=int, default=8)
    parser.add_argument("--streams", type=int, nargs="+", default=[1, 8, 32])
    parser.add_argument("--tokens", type=int, default=128)
    parser.add_argument("--repetitions", type=int, default=3)
    asyncio.run(run(parser.parse_args()))


if __name__ == "__main__":
    main()
