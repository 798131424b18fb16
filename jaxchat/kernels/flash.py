"""Attention over paged keys and values on an NVIDIA GPU, as Pallas kernels that Triton compiles.

Online softmax over blocks of keys (FlashAttention, arXiv 2205.14135); decoding splits a sequence over several programs
and merges them (Flash-Decoding, arXiv 2311.01282). A split has every SPLITS-th block, whatever the length: all splits
work on short sequences too, and the order of a row's sums depends on nothing but its own length.

Keys and values are `[K, N, page, d]`. What lies behind a sequence's end in its last page may be NaN.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jax.experimental import pallas as pl
from jax.experimental.pallas import triton as plgpu

from jaxchat.kernels.form import Form

SPLITS = 8  # programs that share a row and KV head
LEAST = 16  # rows of a product on tensor cores
QUERIES = 64  # of a prefill program
BLOCK_BYTES = 16 * 1024  # of keys that are in shared memory at once, and as many of values
MASKED = -1e30  # finite, so that a block without a visible key gives no NaN

Sums = tuple[Array, Array, Array]  # largest score, sum of weights, weighted values


def decode(
    q: Array, keys: Array, values: Array, table: Array, lengths: Array, form: Form, *, interpret: bool = False
) -> Array:
    """Attention of one query per row over that row's keys.

    Args:
        q: `[S, H, d]`, d a power of two.
        keys: `[K, N, page, d]`, as are `values`.
        table: i32 `[S, P]`.
        lengths: i32 `[S]`, keys of each row, its query's included; zeros come out of a row with none.
        form: how scores are made and what is seen.
        interpret: without a GPU, slowly.

    Returns:
        `[S, H, d]` of the dtype of q.
    """
    rows, heads, width = q.shape
    kv_heads, _, page, _ = keys.shape
    group = heads // kv_heads
    block = _block(keys)
    table = jnp.pad(table, ((0, 0), (0, -table.shape[1] % (block // page))))
    tile = max(LEAST, pl.next_power_of_2(group))
    grid = (rows, kv_heads, SPLITS)
    pages = pl.BlockSpec((None, *keys.shape[1:]), lambda row, head, split: (head, 0, 0, 0))

    def parts(*shape: int) -> pl.BlockSpec:
        return pl.BlockSpec((None, None, None, *shape), lambda row, head, split: (row, head, split, *(0 for _ in shape)))

    each = jax.ShapeDtypeStruct((*grid, group), jnp.float32)
    sums = pl.pallas_call(
        partial(_decode_split, form=form, block=block, group=group),
        grid=grid,
        in_specs=[
            pl.BlockSpec((None, None, tile, width), lambda row, head, split: (row, head, 0, 0)),
            pages,
            pages,
            pl.BlockSpec((None, table.shape[1]), lambda row, head, split: (row, 0)),
            pl.BlockSpec((None,), lambda row, head, split: (row,)),
        ],
        out_specs=[parts(tile), parts(tile), parts(tile, width)],
        out_shape=[each, each, jax.ShapeDtypeStruct((*grid, group, width), jnp.float32)],
        interpret=interpret,
        compiler_params=plgpu.CompilerParams(num_warps=4, num_stages=3),
        name="flash_decode",
    )(q.reshape(rows, kv_heads, group, width), keys, values, table, lengths)
    return _merged(sums, form, q.dtype, interpret).reshape(q.shape)


def _decode_split(
    q_ref: Any, k_ref: Any, v_ref: Any, table_ref: Any, length_ref: Any, *sum_refs: Any, form: Form, block: int, group: int
) -> None:
    """One split of a row's keys for the queries of one KV head; writes the three sums."""
    split, length = pl.program_id(2), length_ref[...]
    held = jnp.arange(q_ref.shape[0]) < group
    q = plgpu.load(q_ref, mask=held[:, None], other=0.0)
    first = jnp.maximum(length - form.window, 0) // block if form.window else 0
    begin = jnp.maximum(first - split + SPLITS - 1, 0) // SPLITS
    end = jnp.maximum(pl.cdiv(length, block) - split + SPLITS - 1, 0) // SPLITS
    step = partial(_accumulate, q, k_ref, v_ref, table_ref, form=form, block=block)

    def body(index: Array, sums: Sums) -> Sums:
        return step(index * SPLITS + split, partial(form.visible, length - 1), sums, written=length)

    for ref, found in zip(sum_refs, jax.lax.fori_loop(begin, end, body, _nothing(*q.shape)), strict=True):
        plgpu.store(ref, found, mask=held if found.ndim == 1 else held[:, None])


def _merged(sums: list[Array], form: Form, dtype: Any, interpret: bool) -> Array:
    """The sums `[S, K, SPLITS, G]`, twice, and `[S, K, SPLITS, G, d]` of all splits as one `[S, K, G, d]`."""
    rows, kv_heads, _, group, width = sums[2].shape
    tile = pl.next_power_of_2(group)

    def part(*shape: int) -> pl.BlockSpec:
        return pl.BlockSpec((None, None, *shape), lambda row, head: (row, head, *(0 for _ in shape)))

    sinks = [] if form.sinks is None else [form.sinks.astype(jnp.float32).reshape(kv_heads, group)]
    merged: Array = pl.pallas_call(
        partial(_merge, group=group),
        grid=(rows, kv_heads),
        in_specs=[
            part(SPLITS, tile),
            part(SPLITS, tile),
            part(SPLITS, tile, width),
            *[pl.BlockSpec((None, tile), lambda row, head: (head, 0)) for _ in sinks],
        ],
        out_specs=part(tile, width),
        out_shape=jax.ShapeDtypeStruct((rows, kv_heads, group, width), dtype),
        interpret=interpret,
        compiler_params=plgpu.CompilerParams(num_warps=4, num_stages=1),
        name="flash_merge",
    )(*sums, *sinks)
    return merged


def _merge(top_ref: Any, total_ref: Any, mixed_ref: Any, *refs: Any, group: int) -> None:
    """Brings the sums of splits to one scale and divides."""
    *sink_refs, out_ref = refs
    held = jnp.arange(out_ref.shape[0]) < group
    tops = plgpu.load(top_ref, mask=held[None], other=MASKED)
    totals = plgpu.load(total_ref, mask=held[None], other=0.0)
    mixed = plgpu.load(mixed_ref, mask=held[None, :, None], other=0.0)
    top = jnp.max(tops, axis=0)
    if sink_refs:
        sink = plgpu.load(sink_refs[0], mask=held, other=0.0)
        top = jnp.maximum(top, sink)
    shrink = jnp.exp(tops - top[None])
    total = jnp.sum(totals * shrink, axis=0)
    total += jnp.exp(sink - top) if sink_refs else 0.0
    out = jnp.sum(mixed * shrink[:, :, None], axis=0) / jnp.where(total > 0, total, 1.0)[:, None]
    plgpu.store(out_ref, out.astype(out_ref.dtype), mask=held[:, None])


def prefill(
    q: Array, keys: Array, values: Array, table: Array, start: Array, form: Form, *, interpret: bool = False
) -> Array:
    """Causal attention of a chunk of one sequence over everything before it and itself.

    Args:
        q: `[C, H, d]`, the queries at positions `start .. start + C - 1`, C and d powers of two.
        keys: `[K, N, page, d]`, as are `values`; the chunk's own are in them.
        table: i32 `[P]`.
        start: i32 scalar.
        form: how scores are made and what is seen.
        interpret: without a GPU, slowly.

    Returns:
        `[C, H, d]` of the dtype of q.
    """
    chunk, heads, width = q.shape
    kv_heads, _, page, _ = keys.shape
    group, block = heads // kv_heads, _block(keys)
    tile = min(QUERIES, chunk)
    table = jnp.pad(table, (0, -(-len(table) % (block // page)) % (block // page) + chunk // page))
    pages = pl.BlockSpec((None, *keys.shape[1:]), lambda head, part: (head // group, 0, 0, 0))
    queries = pl.BlockSpec((tile, None, width), lambda head, part: (part, head, 0))
    sinks = [] if form.sinks is None else [form.sinks.astype(jnp.float32).reshape(heads)]
    attended: Array = pl.pallas_call(
        partial(_prefill_tile, form=form, block=block),
        grid=(heads, chunk // tile),
        in_specs=[
            queries,
            pages,
            pages,
            pl.BlockSpec(table.shape, lambda head, part: (0,)),
            pl.BlockSpec((None,), lambda head, part: (0,)),
            *[pl.BlockSpec((None,), lambda head, part: (head,)) for _ in sinks],
        ],
        out_specs=queries,
        out_shape=jax.ShapeDtypeStruct(q.shape, q.dtype),
        interpret=interpret,
        compiler_params=plgpu.CompilerParams(num_warps=4, num_stages=3),
        name="flash_prefill",
    )(q, keys, values, table, start.reshape(1), *sinks)
    return attended


def _prefill_tile(
    q_ref: Any, k_ref: Any, v_ref: Any, table_ref: Any, start_ref: Any, *refs: Any, form: Form, block: int
) -> None:
    """The queries of one head that one program has."""
    *sink_refs, out_ref = refs
    tile, width = q_ref.shape
    first = start_ref[...] + pl.program_id(1) * tile
    queries = first + jnp.arange(tile)
    step = partial(_accumulate, q_ref[...], k_ref, v_ref, table_ref, form=form, block=block)

    def body(index: Array, sums: Sums) -> Sums:
        return step(index, partial(form.visible, queries[:, None]), sums, written=first + tile)

    begin = jnp.maximum(first - form.window + 1, 0) // block if form.window else 0
    begun = _nothing(tile, width)
    if sink_refs:
        begun = jnp.zeros(tile, jnp.float32) + sink_refs[0][...], begun[1] + 1.0, begun[2]
    _, total, mixed = jax.lax.fori_loop(begin, pl.cdiv(first + tile, block), body, begun)
    out_ref[...] = (mixed / jnp.where(total > 0, total, 1.0)[:, None]).astype(out_ref.dtype)


def _accumulate(
    q: Array,
    k_ref: Any,
    v_ref: Any,
    table_ref: Any,
    index: Array,
    visible: Callable[[Array], Array],
    sums: Sums,
    *,
    written: Array,
    form: Form,
    block: int,
) -> Sums:
    """Adds block `index` of the keys to the sums of queries `q[T, d]`; from position `written` on nothing is held."""
    top, total, mixed = sums
    page, width = k_ref.shape[-2:]
    ids = table_ref[pl.ds(index * (block // page), block // page)]
    keys = k_ref[ids].reshape(block, width)
    values = v_ref[ids].reshape(block, width)
    position = index * block + jnp.arange(block)
    values = jnp.where((position < written)[:, None], values, jnp.zeros_like(values))
    scale = width**-0.5 if form.scale is None else form.scale
    scores = jnp.where(visible(position[None]), form.capped(_product(q, keys.T) * scale), MASKED)
    higher = jnp.maximum(top, jnp.max(scores, axis=-1))
    shrink, weights = jnp.exp(top - higher), jnp.exp(scores - higher[:, None])
    total = total * shrink + jnp.sum(weights, axis=-1)
    return higher, total, mixed * shrink[:, None] + _product(weights.astype(values.dtype), values)


def _product(a: Array, b: Array) -> Array:
    precision = jax.lax.Precision.HIGHEST if a.dtype == jnp.float32 else None
    return jnp.dot(a, b, precision=precision, preferred_element_type=jnp.float32)


def _nothing(rows: int, width: int) -> Sums:
    """The sums of no key."""
    zeros = jnp.zeros(rows, jnp.float32)
    return zeros + MASKED, zeros, jnp.zeros((rows, width), jnp.float32)


def _block(keys: Array) -> int:
    """Keys of a block: whole pages, as many as fit into shared memory beside those that are fetched ahead."""
    page, width = keys.shape[-2:]
    return max(page, LEAST, min(64, BLOCK_BYTES // (width * keys.dtype.itemsize)))
