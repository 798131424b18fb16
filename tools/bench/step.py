"""Measures decode steps: the cost of sampling features and of fixed shapes. `python -m tools.bench.step --shape 0.5B`

Runs the compiled programs without an engine, on a model with random weights. The first table has a step of S active
slots with each sampling feature, compared with a greedy step. The second table has 1, 2, 4, 8 and 16 users, as far as
there are slots, and compares two programs. One is the smallest program that computes the same bits as the program of S
rows, because answers must not depend on the load. The other program has exactly one row per user, and its bits may
differ. Prints medians over alternating steps.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import numpy as np

from jaxchat.config import EngineConfig
from jaxchat.models.config import ModelConfig
from jaxchat.models.param_specs import param_specs
from jaxchat.parallel.mesh import Placement
from jaxchat.runtime.determinism import agreeing_decode_buckets
from jaxchat.runtime.matmul_backend import choose_packing, select_attention
from jaxchat.runtime.process_tuning import release_freed_memory
from jaxchat.runtime.runner import Runner
from jaxchat.runtime.state import EngineShapes
from jaxchat.runtime.weight_packing import pack
from jaxchat.sampling.sample import sample
from jaxchat.types import DecodeWork, PrefillSlice, PrefillWork, SamplingParams
from tools.bench.shapes import SHAPES, random_params

NUCLEUS = SamplingParams(temperature=0.8, top_p=0.9)
FEATURES = {
    "greedy": SamplingParams(temperature=0.0),
    "greedy, logprobs": SamplingParams(temperature=0.0, logprobs=True),
    "greedy, penalties": SamplingParams(temperature=0.0, frequency_penalty=0.5, presence_penalty=0.5),
    "temperature": SamplingParams(temperature=0.8),
    "nucleus": NUCLEUS,
    "nucleus, penalties, logprobs": SamplingParams(
        temperature=0.8, top_p=0.9, frequency_penalty=0.5, presence_penalty=0.5, logprobs=True
    ),
}


def make(
    config: ModelConfig, params: dict[str, object], slots: int, decode_sizes: tuple[int, ...], args: argparse.Namespace
) -> Runner:
    """Returns a warmed-up runner.

    Args:
        config: the model.
        params: its parameters.
        slots: number of slots.
        decode_sizes: rows of the decode programs to compile. Programs whose bits differ from those of the largest
            program are dropped.
        args: the flags of the command line.
    """
    engine = EngineConfig(slots=slots, max_seq_len=args.max_seq_len, dtype=args.dtype, kv_dtype=args.kv_dtype)
    placement = Placement.create(engine.mesh, config)
    attention = select_attention(engine, config, placement, None).backend

    def sampler(*given, **more):  # type: ignore[no-untyped-def]
        return sample(*given, valid=config.vocab_size, **more)

    sizes = EngineShapes.resolve(engine, config)
    runner = Runner(
        config,
        params,
        sizes,
        placement,
        dtype=args.dtype,
        sampler=sampler,
        attention=attention,
        decode_sizes=decode_sizes,
    )
    runner.warm_up()
    runner.restrict(runner.prefill_buckets, agreeing_decode_buckets(runner))
    return runner


def begin(runner: Runner, sampling: SamplingParams, users: int, prompt: int) -> None:
    """Prefills a random prompt of `prompt` tokens in each of the first `users` slots."""
    sizes, rng = runner.sizes, np.random.default_rng(0)
    for slot in range(users):
        pages = np.arange(sizes.table, dtype=np.int32) + 1 + slot * sizes.table
        tokens = rng.integers(0, sizes.vocab, prompt).astype(np.int32)
        for start in range(0, prompt, sizes.chunk):
            part, last = tokens[start : start + sizes.chunk], start + sizes.chunk >= prompt
            runner.prefill(PrefillWork((PrefillSlice(slot, part, start, last, pages, 0, sampling),))).wait()


def stepper(runner: Runner, users: int) -> Callable[[], float]:
    """Returns a function that runs one decode step of the first `users` slots and returns its milliseconds."""
    work = DecodeWork(np.arange(users, dtype=np.int32), np.full(users, -1, np.int32))

    def step() -> float:
        began = time.perf_counter()
        runner.decode(work).wait()
        return 1000 * (time.perf_counter() - began)

    return step


def features(runner: Runner, args: argparse.Namespace) -> dict[str, float]:
    """Returns the median milliseconds of a decode step with all slots, by the sampling feature in use.

    Args:
        runner: a runner with `args.slots` slots.
        args: the flags of the command line.
    """
    times: dict[str, list[float]] = {name: [] for name in FEATURES}
    for _ in range(args.rounds):
        for name, sampling in FEATURES.items():
            begin(runner, sampling, args.slots, args.prompt)
            step = stepper(runner, args.slots)
            times[name] += [step() for _ in range(args.steps)][1:]
    return {name: statistics.median(results) for name, results in times.items()}


def main() -> None:
    """Runs the command line."""
    parser = argparse.ArgumentParser(prog="tools.bench.step", description=__doc__.splitlines()[0])
    parser.add_argument("--shape", choices=SHAPES, default="0.5B")
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--cpu-matmul", choices=("native", "xla"), default="native")
    parser.add_argument("--quantize", choices=("int8", "int4"))
    parser.add_argument("--kv-dtype", choices=("int8",))
    parser.add_argument("--slots", type=int, default=8)
    parser.add_argument("--prompt", type=int, default=64)
    parser.add_argument("--max-seq-len", type=int, default=512)
    parser.add_argument("--steps", type=int, default=12, help="steps of each measurement")
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    config = SHAPES[args.shape]
    engine = EngineConfig(dtype=args.dtype, cpu_matmul=args.cpu_matmul, quantize=args.quantize)
    with release_freed_memory(args.slots * config.vocab_size):
        packing, products = choose_packing(engine, Placement.create(engine.mesh, config), None)
        params = random_params(config, args.dtype)
        if packing:
            pack(params, param_specs(config), packing)
    print(f"{args.shape}, {args.dtype}, products {products}\n")
    decode_sizes = EngineConfig(slots=args.slots).decode_sizes
    full = make(config, params, args.slots, decode_sizes, args)
    results = features(full, args)
    print(f"| step of {args.slots} | ms | above greedy |\n|---|---|---|")
    for name, milliseconds in results.items():
        print(f"| {name} | {milliseconds:.2f} | {100 * (milliseconds / results['greedy'] - 1):.1f} % |", flush=True)
    print(f"\nprograms of {', '.join(map(str, full.decode_buckets))} rows agree\n")
    print("| users | ms, the smallest of them | ms, a program of just the users | cost |\n|---|---|---|---|")
    for users in (n for n in (1, 2, 4, 8, 16) if n <= args.slots):
        fitting = make(config, params, users, (users,), args)
        for runner in (full, fitting):
            begin(runner, NUCLEUS, users, args.prompt)
        fixed, exact = stepper(full, users), stepper(fitting, users)
        pairs = [(fixed(), exact()) for _ in range(args.steps * args.rounds)][1:]
        one, other = (statistics.median(column) for column in zip(*pairs, strict=True))
        print(f"| {users} | {one:.2f} | {other:.2f} | {100 * (one / other - 1):.1f} % |", flush=True)


if __name__ == "__main__":
    main()
