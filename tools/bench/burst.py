"""Measures prompts that arrive at once, as a ratio to another checkout: `python -m tools.bench.burst --against DIR`

Runs the engine without a server, on a model with random weights. On an idle engine, measures the time from the arrival
of the prompts until each has its first token. Then measures the longest gap between successive tokens of a sequence
that is running when the prompts arrive. Checkouts take turns. The other checkout runs in this process's environment.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path
from random import Random

from tools.bench.cases import CONTEXT
from tools.bench.model import make
from tools.bench.peers import PEERS, ROOT, Worker
from tools.bench.shapes import SHAPES
from tools.bench.text import prompt_tokens
from tools.bench.workers.line import Request, Settings, Times

RUNNING = 96  # tokens of the answer of the sequence that runs already
FIGURES = ("last first token", "longest gap")


def burst(seed: int, prompts: int, tokens: int, vocab: int, *, at: float = 0.0) -> list[Request]:
    """Returns `prompts` requests that arrive after `at` seconds, with random prompts of `tokens` tokens."""
    rng = Random(f"burst {seed}")
    return [Request(at=at, prompt=prompt_tokens(rng, tokens, vocab), tokens=8) for _ in range(prompts)]


def last_first_token(times: Times) -> float:
    """Returns the seconds from the beginning of the run until all requests have their first token."""
    return max(arrivals[0] for arrivals in times)


def longest_gap(arrivals: list[float]) -> float:
    """Returns the longest time in seconds between successive tokens of a request."""
    return max(later - earlier for earlier, later in pairwise(arrivals))


def measure(worker: Worker, seed: int, args: argparse.Namespace) -> tuple[float, float]:
    """Returns both `FIGURES` of one run, in seconds."""
    vocab = SHAPES[args.shape].vocab_size
    first = last_first_token(worker.run(burst(seed, args.prompts, args.tokens, vocab)))
    running = Request(at=0.0, prompt=prompt_tokens(Random(seed), 32, vocab), tokens=RUNNING)
    requests = burst(seed + 1, args.prompts - 1, args.tokens, vocab, at=args.later)
    return first, longest_gap(worker.run([running, *requests])[0])


def main() -> None:
    """Runs the command line."""
    parser = argparse.ArgumentParser(prog="tools.bench.burst", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--against", type=Path, help="root of another checkout")
    parser.add_argument("--shape", choices=SHAPES, default="0.5B")
    parser.add_argument("--dtype", choices=("float32", "bfloat16", "int8"), default="float32")
    parser.add_argument("--prompts", type=int, default=32)
    parser.add_argument("--tokens", type=int, default=32, help="of each prompt")
    parser.add_argument("--later", type=float, default=0.5, help="seconds before prompts arrive at a running sequence")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--cache", type=Path, default=Path.home() / ".cache" / "jaxchat" / "bench")
    args = parser.parse_args()
    stored = args.dtype if args.dtype == "bfloat16" else "float32"
    model = make(args.cache / f"{args.shape}-{args.dtype}", SHAPES[args.shape], stored)
    settings = Settings(
        model=str(model), dtype=args.dtype, slots=args.prompts, max_seq_len=CONTEXT, threads=os.cpu_count() or 1
    )
    roots = [ROOT, *([args.against.resolve()] if args.against else [])]
    results: list[list[tuple[float, float]]] = [[] for _ in roots]
    with ExitStack() as stack:
        workers = [stack.enter_context(Worker(PEERS["engine"], settings, args.cache, root)) for root in roots]
        for seed in range(args.rounds + 1):
            for worker, values in zip(workers, results, strict=True):
                values.append(measure(worker, 2 * seed, args))
            print(f"round {seed} of {args.rounds}", file=sys.stderr, flush=True)
    medians = [[statistics.median(column) for column in zip(*values[1:], strict=True)] for values in results]
    print("| seconds | here | there | ratio |\n|---|---|---|---|")
    for name, here, *there in zip(FIGURES, *medians, strict=True):
        ratio = [f"{there[0]:.3f}", f"{here / there[0]:.2f}"] if there else ["-", "-"]
        print(f"| {' | '.join((name, f'{here:.3f}', *ratio))} |")


if __name__ == "__main__":
    main()
