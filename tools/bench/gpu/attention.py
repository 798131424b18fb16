"""Times jaxchat's and other attention kernels on a GPU, as JSON: `python -m tools.bench.gpu.attention`.

Measures decoding of rows with equally long sequences, and prefill of a chunk at the end of a sequence, in bf16. Times
are microseconds of one layer. Layers have separate KV caches, so that no KV cache stays in the chip's own caches.

Letters in shapes are those of `AttentionBackend`.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxchat.kernels.attention import gpu_flash
from jaxchat.kernels.attention.ragged_batch import RaggedBatch
from jaxchat.kernels.attention.spec import PLAIN

LAYERS, PAGE, CONTEXT = 16, 16, 8192
DECODE = ((1, 1024, 2048), (1, 8000, 8192), (8, 1024, 2048), (64, 1024, 2048))  # rows, keys, room in a table
PREFILL = ((512, 0), (512, 1024), (512, 7680))  # tokens, position of the first
Attend = Callable[[Array, Array, Array, Array, Array], Array]


def shipped(q: Array, keys: Array, values: Array, table: Array, lengths: Array) -> Array:
    """Runs jax's own paged attention kernel. Takes the arguments of `gathered` and returns bf16 `[R, H, d]`."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        from jax.experimental.pallas.ops.gpu.paged_attention import paged_attention
    return paged_attention(q, keys, values, table, lengths, pages_per_compute_block=8, k_splits=8)


def gathered(q: Array, keys: Array, values: Array, table: Array, lengths: Array, by: Any = "cudnn") -> Array:
    """Runs cuDNN on a contiguous copy of each row's pages, and returns bf16 `[R, H, d]`.

    Args:
        q: queries, bf16 `[R, H, d]`.
        keys: pages of keys, bf16 `[K, N, page, d]`.
        values: pages of values, bf16 `[K, N, page, d]`.
        table: page table, i32 `[R, P]`.
        lengths: number of keys of each row, i32 `[R]`.
        by: the implementation of `jax.nn.dot_product_attention`.
    """
    rows, _, width = q.shape
    keys, values = (x[:, table].transpose(1, 2, 3, 0, 4).reshape(rows, -1, len(x), width) for x in (keys, values))
    return contiguous(q, keys, values, table, lengths, by)


def contiguous(q: Array, keys: Array, values: Array, table: Array, lengths: Array, by: Any = "cudnn") -> Array:
    """Runs cuDNN over rows with contiguous keys and values, bf16 `[R, tokens, K, d]`. Returns bf16 `[R, H, d]`.

    Ignores `table`. The other arguments are as for `gathered`.
    """
    one = jnp.ones(len(q), jnp.int32)
    return jax.nn.dot_product_attention(
        q[:, None], keys, values, query_seq_lengths=one, key_value_seq_lengths=lengths, implementation=by
    )[:, 0]


def chunk_gathered(q: Array, keys: Array, values: Array, table: Array, start: Array, by: Any = "cudnn") -> Array:
    """Runs cuDNN with a causal mask over a contiguous copy of one sequence's pages, and returns bf16 `[T, H, d]`.

    Args:
        q: queries, bf16 `[T, H, d]`, at positions from `start` on.
        keys: pages of keys, bf16 `[K, N, page, d]`.
        values: pages of values, bf16 `[K, N, page, d]`.
        table: page table, i32 `[P]`.
        start: position of the first query, i32 scalar.
        by: the implementation of `jax.nn.dot_product_attention`.
    """
    keys, values = (x[:, table].reshape(len(x), -1, x.shape[-1]).swapaxes(0, 1) for x in (keys, values))
    position = jnp.arange(len(keys))
    mask = position <= (start + jnp.arange(len(q)))[:, None]
    return jax.nn.dot_product_attention(q, keys, values, mask=mask[None], implementation=by)


def ours(kernel: Callable[..., Array]) -> Attend:
    """Returns a kernel of `gpu_flash` as a function that takes the arguments of `gathered` or `chunk_gathered`."""
    return lambda q, keys, values, *places: kernel(q, (keys, values), *places, PLAIN)


def ours_prefill(q: Array, keys: Array, values: Array, table: Array, start: Array) -> Array:
    """Runs the kernel for the prompt of one sequence, with the arguments of `chunk_gathered`."""
    return gpu_flash.prefill(q, (keys, values), RaggedBatch.single(table, start, len(q)), PLAIN)


def timed(attend: Attend, q: Array, caches: list[tuple[Array, Array]], table: Array, place: Array) -> float:
    """Returns the median microseconds of one layer of attention.

    Args:
        attend: the attention to time.
        q: queries, bf16 `[R, H, d]` or `[T, H, d]`.
        caches: keys and values of each layer, bf16, in the shapes that `attend` takes.
        table: page table, i32 `[R, P]` or `[P]`.
        place: last argument of `attend`, i32: the lengths `[R]` of rows, or the position of the first query.
    """

    @jax.jit
    def run(q: Array, caches: Any, table: Array, place: Array) -> Array:
        for keys, values in caches:
            q = q + attend(q, keys, values, table, place).astype(q.dtype)
        return q

    run(q, caches, table, place).block_until_ready()
    times = []
    for _ in range(10):
        began = time.perf_counter()
        run(q, caches, table, place).block_until_ready()
        times.append(time.perf_counter() - began)
    return 1e6 * statistics.median(times) / len(caches)


def measure(args: argparse.Namespace) -> list[dict[str, Any]]:
    """Returns the results of all kernels, with the roofline (`floor`) and the time (`us`), both in microseconds.

    A kernel that fails has the key `error` instead.

    Args:
        args: the flags of the command line.
    """
    H, K, d = args.heads, args.kv_heads, args.width
    drawn = partial(jax.random.normal, dtype=jnp.bfloat16)
    results: list[dict[str, Any]] = []

    def note(what: str, who: str, floor: float, *args: Any) -> None:
        try:
            results.append({"what": what, "who": who, "us": timed(*args), "floor": floor})
        except Exception as error:  # a kernel that a chip refuses is a finding, too
            results.append({"what": what, "who": who, "error": f"{type(error).__name__}: {error}"[:300]})

    for rows, length, context in DECODE:
        pages = rows * context // PAGE + 1
        caches = [
            tuple(drawn(jax.random.key(2 * layer + part), (K, pages, PAGE, d)) for part in (0, 1))
            for layer in range(LAYERS)
        ]
        table = jnp.asarray(np.random.default_rng(0).permutation(pages - 1) + 1, jnp.int32).reshape(rows, -1)
        q, lengths = drawn(jax.random.key(99), (rows, H, d)), jnp.full(rows, length, jnp.int32)
        what = f"decode, {rows} rows of {length} keys"
        floor = 1e6 * rows * length * K * d * 4 / args.bandwidth
        for who, attend in (("ours", ours(gpu_flash.decode)), ("jax's", shipped), ("cuDNN, gathered", gathered)):
            note(what, who, floor, attend, q, caches, table, lengths)
        slots = [tuple(x[:, 1:].reshape(rows, context, K, d) for x in cache) for cache in caches]
        del caches
        note(what, "cuDNN, contiguous", floor, contiguous, q, slots, table, lengths)
        del slots
    pages = CONTEXT // PAGE
    caches = [tuple(drawn(jax.random.key(layer), (K, pages, PAGE, d)) for _ in (0, 1)) for layer in range(LAYERS)]
    table = jnp.arange(pages, dtype=jnp.int32)
    for chunk, start in PREFILL:
        q = drawn(jax.random.key(99), (chunk, H, d))
        what = f"prefill, {chunk} from {start}"
        floor = 1e6 * 4 * H * d * chunk * (start + chunk / 2) / args.flops
        for who, attend in (("ours", ours_prefill), ("cuDNN, gathered", chunk_gathered)):
            note(what, who, floor, attend, q, caches, table, jnp.int32(start))
    return results


def main() -> None:
    """Runs the command line."""
    parser = argparse.ArgumentParser(prog="tools.bench.gpu.attention", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--heads", type=int, default=32)
    parser.add_argument("--kv-heads", type=int, default=8)
    parser.add_argument("--width", type=int, default=128, help="head dimension")
    parser.add_argument("--bandwidth", type=float, default=3.35e12, help="peak bytes per second, for the roofline")
    parser.add_argument("--flops", type=float, default=989e12, help="peak operations per second, for the roofline")
    for line in measure(parser.parse_args()):
        print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
