"""Times jaxchat's compiled programs on this machine's GPU, as JSON: `python -m tools.bench.gpu.engine --model NAME`."""

from __future__ import annotations

import argparse
import json
import statistics
import time
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxchat.config import EngineConfig
from jaxchat.kernels.matmul.gpu_trial import most_rows
from jaxchat.models.config import ModelConfig
from jaxchat.parallel.mesh import Placement
from jaxchat.planning.model_shapes import read_shape
from jaxchat.planning.params import planned_params
from jaxchat.runtime.matmul_backend import select_attention
from jaxchat.runtime.runner import Runner
from jaxchat.runtime.state import EngineShapes
from jaxchat.sampling.sample import sample
from jaxchat.types import DecodeWork, PrefillSlice, PrefillWork, SamplingParams
from tools.bench.probe import fastest

SAMPLINGS = {"greedy": SamplingParams(temperature=0.0), "nucleus": SamplingParams(temperature=0.8, top_p=0.9)}


def probe() -> dict[str, float]:
    """Measures the peak rates of the device, each as the best of three tries.

    Returns:
        "copy": bytes per second that a copy reads and writes. "products": floating-point operations per second of bf16
        products.
    """
    source = jnp.ones(2**30, jnp.float32)
    copy = jax.jit(lambda x: x + 1)
    square = jax.random.normal(jax.random.key(0), (8192, 8192), jnp.bfloat16)
    multiply = jax.jit(jnp.dot)
    jax.block_until_ready((copy(source), multiply(square, square)))  # compiled
    moved = 2 * source.nbytes / fastest(lambda: copy(source).block_until_ready())
    return {"copy": moved, "products": 2 * 8192**3 / fastest(lambda: multiply(square, square).block_until_ready())}


def random_params(model: ModelConfig, placement: Placement, engine: EngineConfig, fused_rows: int) -> dict[str, Any]:
    """Returns random parameters, drawn on the device, as a pytree for `Decoder.apply`.

    Args:
        model: the model.
        placement: the devices and how parameters are split over them.
        engine: settings; dtype and rounding of the parameters.
        fused_rows: of rounded weights, see `WeightOnly`.
    """

    @partial(jax.jit, static_argnums=(1, 2))
    def draw(key: jax.Array, shape: tuple[int, ...], dtype: Any) -> jax.Array:
        if jnp.issubdtype(dtype, jnp.integer):  # codes
            return jax.lax.bitcast_convert_type(jax.random.bits(key, shape, f"uint{8 * dtype.itemsize}"), dtype)
        size = 0.02 if dtype == jnp.dtype(engine.dtype) else 0.003  # of weights, or of scales
        values = size * jax.random.normal(key, shape, dtype)
        return values if len(shape) > 1 else 1 + values

    shapes, tree = jax.tree.flatten(planned_params(model, model, placement, engine, fused_rows=fused_rows))
    keys = jax.random.split(jax.random.key(0), len(shapes))
    return jax.tree.unflatten(tree, [draw(key, leaf.shape, leaf.dtype) for key, leaf in zip(keys, shapes, strict=True)])


def make(model: ModelConfig, args: argparse.Namespace) -> Runner:
    """Returns a warmed-up runner with random weights.

    It has one prefill program, of `args.prefill_chunk` tokens. It has decode programs of all slots and, if there are
    more than 8, of 8 rows.

    Args:
        model: the model.
        args: the flags of the command line. The number of slots is the largest of `args.users`.
    """
    slots = max(args.users)
    engine = EngineConfig(
        slots=slots,
        decode_buckets=(8,),
        max_seq_len=args.max_seq_len,
        prefill_chunk=args.prefill_chunk,
        prefill_buckets=(),
        page_size=args.page,
        dtype=args.dtype,
        attention=args.attention,
        quantize=args.quantize,
    )
    placement = Placement.create(engine.mesh, model)
    attention = select_attention(engine, model, placement, None).backend
    fused_rows = most_rows() if args.quantize == "int4" and not args.xla_products else 0
    params = random_params(model, placement, engine, fused_rows)
    sizes = EngineShapes.resolve(engine, model)
    sampler = partial(sample, valid=model.vocab_size)
    runner = Runner(
        model,
        params,
        sizes,
        placement,
        dtype=engine.dtype,
        sampler=sampler,
        attention=attention,
        decode_sizes=engine.decode_sizes,
    )
    runner.warm_up()
    return runner


def fill(runner: Runner, users: int, prompt: int, sampling: SamplingParams) -> float:
    """Prefills the same random prompt in each of the first `users` slots. Returns tokens per second.

    Args:
        runner: a runner with at least `users` slots.
        users: number of prompts.
        prompt: length of each prompt, in tokens.
        sampling: how the slots sample from then on.
    """
    sizes, rng = runner.sizes, np.random.default_rng(0)
    tokens = rng.integers(0, sizes.vocab, prompt).astype(np.int32)
    began = time.perf_counter()
    for slot in range(users):
        pages = np.arange(sizes.table, dtype=np.int32) + 1 + slot * sizes.table
        for start in range(0, prompt, sizes.chunk):
            part, last = tokens[start : start + sizes.chunk], start + sizes.chunk >= prompt
            step = runner.prefill(PrefillWork((PrefillSlice(slot, part, start, last, pages, 0, sampling),)))
    step.wait()
    return users * prompt / (time.perf_counter() - began)


def decode(runner: Runner, users: int, steps: int) -> float:
    """Returns the mean seconds of a decode step of the first `users` slots.

    Like the engine, dispatches each step before it reads the result of the previous one.

    Args:
        runner: a runner whose first `users` slots are filled.
        users: number of rows of each step.
        steps: number of steps.
    """
    work = DecodeWork(np.arange(users, dtype=np.int32), np.full(users, -1, np.int32))
    runner.decode(work).wait()
    began, before = time.perf_counter(), runner.decode(work)
    for _ in range(steps - 1):
        ahead = runner.decode(work)
        before.wait()
        before = ahead
    before.wait()
    return (time.perf_counter() - began) / steps


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """Measures the device and the model.

    Args:
        args: the flags of the command line.

    Returns:
        "device": name of the device. "jax": version of jax. "quantize": how weights are rounded, or None. "copy" and
        "products": see `probe`. "ready": seconds until the runner is warm. "prefill": tokens per second of four
        prompts, the median over the rounds. "decode": seconds per step by users and sampling, such as "8 greedy", each
        the median over the rounds.
    """
    results: dict[str, Any] = {"device": jax.devices()[0].device_kind, "jax": jax.__version__, **probe()}
    results["quantize"] = args.quantize
    began = time.perf_counter()
    runner = make(read_shape(args.model), args)
    results["ready"] = time.perf_counter() - began
    fill(runner, 1, args.prompt, SAMPLINGS["greedy"])
    results["prefill"] = statistics.median(
        fill(runner, 4, args.prompt, SAMPLINGS["greedy"]) for _ in range(args.rounds)
    )
    results["decode"] = {}
    for users in args.users:
        for name in args.samplings:
            times = []
            for _ in range(args.rounds):
                fill(runner, users, args.prompt, SAMPLINGS[name])
                times.append(decode(runner, users, args.steps))
            results["decode"][f"{users} {name}"] = statistics.median(times)
    return results


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments that describe a measurement."""
    parser.add_argument("--model", default="llama-3-8b", help="a name that `jaxchat plan` knows, or a config.json")
    parser.add_argument("--users", nargs="+", type=int, default=[1, 8, 64])
    parser.add_argument("--prompt", type=int, default=1024, help="tokens of each prompt")
    parser.add_argument("--steps", type=int, default=64, help="steps of each measurement of decoding")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--max-seq-len", type=int, default=2048)


def main() -> None:
    """Runs the command line."""
    parser = argparse.ArgumentParser(prog="tools.bench.gpu.engine", description=(__doc__ or "").splitlines()[0])
    add_arguments(parser)
    parser.add_argument("--prefill-chunk", type=int, default=512)
    parser.add_argument("--page", type=int, default=16)
    parser.add_argument("--dtype", choices=("bfloat16", "float32"), default="bfloat16")
    parser.add_argument("--attention", choices=("auto", "xla"), default="auto")
    parser.add_argument("--quantize", choices=("int8", "int4"))
    parser.add_argument("--xla-products", action="store_true", help="without our kernel for quantised weights")
    parser.add_argument("--samplings", nargs="+", choices=SAMPLINGS, default=list(SAMPLINGS))
    print(json.dumps(measure(parser.parse_args())))


if __name__ == "__main__":
    main()
