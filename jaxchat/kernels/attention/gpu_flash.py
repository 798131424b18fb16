"""Attention over paged keys and values on an NVIDIA GPU, as Pallas kernels that Triton compiles.

Decoding splits a sequence over several kernel instances and merges their results (Flash-Decoding, arXiv 2311.01282).
The split depends on the sequence's own length alone, so neighbours never change its bits.

A cache has keys and values `[K, N, page, d]`. If they are int8, it also has their scales, f32 `[K, N, page]`. In the
last page of a sequence, the memory after the sequence's end may hold NaN.

Letters in shapes are those of `AttentionBackend`.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jax.experimental import pallas as pl
from jax.experimental.pallas import triton as plgpu

from jaxchat.kernels.attention.backend import Cache
from jaxchat.kernels.attention.gpu_kv_loop import (
    MIN_ROWS,
    KVLoop,
    Pages,
    Tiling,
    empty_sums,
    head_mask,
    padded_width,
)
from jaxchat.kernels.attention.ragged_batch import RaggedBatch
from jaxchat.kernels.attention.spec import MASKED, AttentionSpec

DECODE = Tiling(block=64, warps=4, stages=3, splits=16, min_blocks=2)
PREFILL = Tiling(block=64, warps=4, stages=3, queries=64)
PROGRAMS = 2048  # kernel instances that keep a chip busy; with more rows, each instance has several splits of a row


def decode(
    q: Array, cache: Cache, table: Array, lengths: Array, spec: AttentionSpec, *, interpret: bool = False
) -> Array:
    """Computes attention of one query per row over that row's keys.

    Args:
        q: queries, `[R, H, d]`, f32 or bf16.
        cache: keys and values, and their scales if they are int8.
        table: i32 `[R, P]`, page ids.
        lengths: i32 `[R]`, number of keys of each row, including the query's own key. The result of a row without keys
            is 0.
        spec: how scores are computed and which keys are visible.
        interpret: whether to run without a GPU, slowly.

    Returns:
        `[R, H, d]` of the dtype of q.
    """
    rows, heads, width = q.shape
    kv_heads = len(cache[0])
    group = heads // kv_heads
    loop = KVLoop.over(cache, q, spec, DECODE)
    tile = max(MIN_ROWS, pl.next_power_of_2(group))
    programs = min(max(PROGRAMS // (rows * kv_heads), 1), DECODE.splits)

    def pages(array: Array) -> pl.BlockSpec:
        return pl.BlockSpec((None, *array.shape[1:]), lambda row, head, program: (head, *[0] * (array.ndim - 1)))

    def sums_spec(*shape: int) -> pl.BlockSpec:
        block_shape = (None, None, DECODE.splits, *shape)
        return pl.BlockSpec(block_shape, lambda row, head, program: (row, head, 0, *(0 for _ in shape)))

    partial_shape = jax.ShapeDtypeStruct((rows, kv_heads, DECODE.splits, group), jnp.float32)
    sums = pl.pallas_call(
        partial(_decode_splits, loop=loop, group=group),
        grid=(rows, kv_heads, programs),
        in_specs=[
            pl.BlockSpec((None, None, tile, padded_width(width)), lambda row, head, program: (row, head, 0, 0)),
            pl.BlockSpec((None, table.shape[1]), lambda row, head, program: (row, 0)),
            pl.BlockSpec((None,), lambda row, head, program: (row,)),
            *map(pages, cache),
        ],
        out_specs=[sums_spec(tile), sums_spec(tile), sums_spec(tile, padded_width(width))],
        out_shape=[partial_shape, partial_shape, jax.ShapeDtypeStruct((*partial_shape.shape, width), jnp.float32)],
        interpret=interpret,
        compiler_params=plgpu.CompilerParams(num_warps=DECODE.warps, num_stages=DECODE.stages),
        name="flash_decode",
    )(q.reshape(rows, kv_heads, group, width), table, lengths, *cache)
    return _merged(sums, lengths, loop, q.dtype, interpret).reshape(q.shape)


def prefill(q: Array, cache: Cache, batch: RaggedBatch, spec: AttentionSpec, *, interpret: bool = False) -> Array:
    """Computes causal attention for successive tokens of several sequences.

    Each token attends to itself and to the earlier tokens of its sequence.

    Args:
        q: queries of the batch's rows, `[T, H, d]`, f32 or bf16.
        cache: keys and values, which include the ones of the batch, and their scales if they are int8.
        batch: the sequences and their rows.
        spec: how scores are computed and which keys are visible.
        interpret: whether to run without a GPU, slowly.

    Returns:
        `[T, H, d]` of the dtype of q, zeros in padding.
    """
    count, heads, width = q.shape
    group = heads // len(cache[0])
    size = min(PREFILL.queries, max(MIN_ROWS, pl.next_power_of_2(count)))
    tiles = batch.tiles(count, size)
    loop = KVLoop.over(cache, q, spec, PREFILL)

    def pages(array: Array) -> pl.BlockSpec:
        return pl.BlockSpec((None, *array.shape[1:]), lambda head, part: (head // group, *[0] * (array.ndim - 1)))

    of_head = pl.BlockSpec((count, None, width), lambda head, part: (0, head, 0))
    of_tile = pl.BlockSpec((None,), lambda head, part: (part,))
    sinks = _sinks(spec, heads)
    attended: Array = pl.pallas_call(
        partial(_prefill_tile, loop=loop, arrays=len(cache), size=size),
        grid=(heads, len(tiles.counts)),
        in_specs=[
            of_head,
            pl.BlockSpec((None, batch.tables.shape[1]), lambda head, part: (part, 0)),
            *[of_tile] * 3,
            *map(pages, cache),
            *[pl.BlockSpec((None,), lambda head, part: (head,)) for _ in sinks],
        ],
        out_specs=of_head,
        out_shape=jax.ShapeDtypeStruct(q.shape, q.dtype),
        interpret=interpret,
        compiler_params=plgpu.CompilerParams(num_warps=PREFILL.warps, num_stages=PREFILL.stages),
        name="flash_prefill",
    )(q, batch.tables[tiles.sequences], tiles.rows[:, 0], tiles.starts, tiles.ends, *cache, *sinks)
    in_use = jnp.arange(count) < batch.bounds[-1]  # no instance writes other rows
    return jnp.where(in_use[:, None, None], attended, jnp.zeros_like(attended))


def _decode_splits(q_ref: Any, table_ref: Any, length_ref: Any, *refs: Any, loop: KVLoop, group: int) -> None:
    """Computes attention for the queries of one row in one KV head, over the splits that this kernel instance handles.

    Writes three sums for each split: the maximum of the scores, the total of the weights, and the weighted values.
    """
    cache, sum_refs = refs[:-3], refs[-3:]
    program, programs, length = pl.program_id(2), pl.num_programs(2), length_ref[...]
    first = loop.spec.first(length - 1)
    mask = jnp.arange(q_ref.shape[0]) < group
    wide_mask = head_mask(mask[:, None], q_ref.shape, cache[0].shape[-1])
    q = plgpu.load(q_ref, mask=wide_mask, other=0.0)

    def add_up(index: Array, _: None) -> None:
        split = program + index * programs
        split_range = loop.split_range(split, first, length)
        sums = loop.run(q, Pages(cache, table_ref), length - 1, split_range, length, empty_sums(*q.shape))
        for ref, value in zip(sum_refs, sums, strict=True):
            plgpu.store(ref.at[split], value, mask=mask if value.ndim == 1 else wide_mask)

    jax.lax.fori_loop(0, pl.cdiv(jnp.maximum(loop.splits(first, length) - program, 0), programs), add_up, None)


def _merged(sums: list[Array], lengths: Array, loop: KVLoop, dtype: Any, interpret: bool) -> Array:
    """Merges the sums of all splits to the result `[R, K, G, d]`, with G = H / K.

    Args:
        sums: three sums of each split. The maximum and the total have the shape `[R, K, splits, G]`, and the weighted
            values have one more axis of size d.
        lengths: i32 `[R]`, number of keys of each row.
        loop: the pass that computed the sums.
        dtype: dtype of the result.
        interpret: whether to run without a GPU.
    """
    rows, kv_heads, splits, group, width = sums[2].shape
    tile = pl.next_power_of_2(group)

    def part(*shape: int) -> pl.BlockSpec:
        return pl.BlockSpec((None, None, *shape), lambda row, head: (row, head, *(0 for _ in shape)))

    sinks = [one.reshape(kv_heads, group) for one in _sinks(loop.spec, kv_heads * group)]
    merged: Array = pl.pallas_call(
        partial(_merge, loop=loop, group=group, width=width),
        grid=(rows, kv_heads),
        in_specs=[
            part(splits, tile),
            part(splits, tile),
            part(splits, tile, padded_width(width)),
            pl.BlockSpec((None,), lambda row, head: (row,)),
            *[pl.BlockSpec((None, tile), lambda row, head: (head, 0)) for _ in sinks],
        ],
        out_specs=part(tile, padded_width(width)),
        out_shape=jax.ShapeDtypeStruct((rows, kv_heads, group, width), dtype),
        interpret=interpret,
        compiler_params=plgpu.CompilerParams(num_warps=4, num_stages=1),
        name="flash_merge",
    )(*sums, lengths, *sinks)
    return merged


def _merge(
    top_ref: Any, total_ref: Any, mixed_ref: Any, length_ref: Any, *refs: Any, loop: KVLoop, group: int, width: int
) -> None:
    """Scales the sums of all non-empty splits to a common maximum, adds them, and divides the values by the total."""
    *sink_refs, out_ref = refs
    length = length_ref[...]
    split_range = loop.split_range(jnp.arange(loop.tiling.splits), loop.spec.first(length - 1), length)
    heads = jnp.arange(out_ref.shape[0]) < group
    mask = (split_range.count > 0)[:, None] & heads[None]
    tops = plgpu.load(top_ref, mask=mask, other=MASKED)
    totals = plgpu.load(total_ref, mask=mask, other=0.0)
    wide_mask = head_mask(mask[:, :, None], mixed_ref.shape, width)
    mixed = plgpu.load(mixed_ref, mask=wide_mask, other=0.0)
    top = jnp.max(tops, axis=0)
    if sink_refs:
        sink = plgpu.load(sink_refs[0], mask=heads, other=0.0)
        top = jnp.maximum(top, sink)
    shrink = jnp.exp(tops - top[None])
    total = jnp.sum(totals * shrink, axis=0)
    total += jnp.exp(sink - top) if sink_refs else 0.0
    out = jnp.sum(mixed * shrink[:, :, None], axis=0) / jnp.where(total > 0, total, 1.0)[:, None]
    plgpu.store(out_ref, out.astype(out_ref.dtype), mask=head_mask(heads[:, None], out.shape, width))


def _prefill_tile(
    q_ref: Any,
    table_ref: Any,
    row_ref: Any,
    start_ref: Any,
    end_ref: Any,
    *refs: Any,
    loop: KVLoop,
    arrays: int,
    size: int,
) -> None:
    """Computes attention for one kernel instance's queries, which are up to `size` successive tokens in one head.

    The first `arrays` entries of `refs` are the cache. Then follow the sinks, if there are any, and the result.
    """
    cache, (*sink_refs, out_ref) = refs[:arrays], refs[arrays:]
    start, end, width = start_ref[...], end_ref[...], q_ref.shape[-1]
    positions = start + jnp.arange(size)
    lane = jax.lax.broadcasted_iota(jnp.int32, (size, padded_width(width)), 1)
    row = jnp.broadcast_to((row_ref[...] + jnp.arange(size))[:, None], lane.shape)
    mask = head_mask((positions < end)[:, None], lane.shape, width)
    sums = empty_sums(*lane.shape)
    if sink_refs:
        sums = jnp.zeros(size, jnp.float32) + sink_refs[0][...], sums[1] + 1.0, sums[2]
    split_range = loop.split_range(jnp.int32(0), loop.spec.first(start), end)
    q = plgpu.load(q_ref.at[row, lane], mask=mask, other=0.0)
    _, total, mixed = loop.run(q, Pages(cache, table_ref), positions[:, None], split_range, end, sums)
    out = mixed / jnp.where(total > 0, total, 1.0)[:, None]
    plgpu.store(out_ref.at[row, lane], out.astype(out_ref.dtype), mask=mask)


def _sinks(spec: AttentionSpec, heads: int) -> list[Array]:
    return [] if spec.sinks is None else [spec.sinks.astype(jnp.float32).reshape(heads)]
