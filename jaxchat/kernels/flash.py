"""Attention over paged keys and values on an NVIDIA GPU, as Pallas kernels that Triton compiles.

Online softmax over blocks of keys (FlashAttention, arXiv 2205.14135); decoding splits a sequence over several programs
and merges them (Flash-Decoding, arXiv 2311.01282). A split has every so-manieth block: all splits work on short
sequences too, and the order of a row's sums depends on nothing but its own length.

Keys and values are `[K, N, page, d]`. What lies behind a sequence's end in its last page may be NaN.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jax.experimental import pallas as pl
from jax.experimental.pallas import triton as plgpu

from jaxchat.kernels.form import Form

LEAST = 16  # rows of a product on tensor cores
MASKED = -1e30  # finite, so that a block without a visible key gives no NaN

Sums = tuple[Array, Array, Array]  # largest score, sum of weights, weighted values
Block = tuple[Array, Array]  # keys and values `[B, d]`


@dataclass(frozen=True, kw_only=True)
class Tiling:
    """How a kernel is cut up: the bytes of a block of keys, at most so many of them, and the warps of a program.

    `splits` is the number of programs that share a row and KV head, as far as each has `least` blocks; `queries` those of
    a prefill program. Blocks are fetched `ahead` into registers, or by Triton in so many `stages` into shared memory.
    """

    block_bytes: int
    block: int
    warps: int
    splits: int = 1
    least: int = 1
    queries: int = 1
    ahead: bool = True
    stages: int = 1

    def keys(self, page: int, width: int, itemsize: int) -> int:
        """Keys of a block, whole pages."""
        return max(page, LEAST, min(self.block, self.block_bytes // (width * itemsize)))


DECODE = Tiling(block_bytes=8 * 1024, block=32, warps=4, splits=16, least=8)
PREFILL = Tiling(block_bytes=16 * 1024, block=64, warps=4, queries=64)


def decode(
    q: Array,
    keys: Array,
    values: Array,
    table: Array,
    lengths: Array,
    form: Form,
    *,
    interpret: bool = False,
    tiling: Tiling = DECODE,
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
    walk = _Walk(form, tiling.keys(page, width, keys.dtype.itemsize), tiling)
    splits = tiling.splits
    table = jnp.pad(table, ((0, 0), (0, -table.shape[1] % (walk.block // page))))
    tile = max(LEAST, pl.next_power_of_2(group))
    grid = (rows, kv_heads, splits)
    pages = pl.BlockSpec((None, *keys.shape[1:]), lambda row, head, split: (head, 0, 0, 0))

    def parts(*shape: int) -> pl.BlockSpec:
        return pl.BlockSpec(
            (None, None, None, *shape), lambda row, head, split: (row, head, split, *(0 for _ in shape))
        )

    each = jax.ShapeDtypeStruct((*grid, group), jnp.float32)
    sums = pl.pallas_call(
        partial(_decode_split, walk=walk, group=group),
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
        compiler_params=plgpu.CompilerParams(num_warps=tiling.warps, num_stages=tiling.stages),
        name="flash_decode",
    )(q.reshape(rows, kv_heads, group, width), keys, values, table, lengths)
    return _merged(sums, lengths, walk, q.dtype, interpret).reshape(q.shape)


def prefill(
    q: Array,
    keys: Array,
    values: Array,
    table: Array,
    start: Array,
    form: Form,
    *,
    interpret: bool = False,
    tiling: Tiling = PREFILL,
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
    group, tile = heads // kv_heads, min(tiling.queries, chunk)
    walk = _Walk(form, tiling.keys(page, width, keys.dtype.itemsize), tiling)
    each = walk.block // page
    table = jnp.pad(table, (0, -len(table) % each + -(-chunk // walk.block) * each))  # a last chunk may end past it
    pages = pl.BlockSpec((None, *keys.shape[1:]), lambda head, part: (head // group, 0, 0, 0))
    queries = pl.BlockSpec((tile, None, width), lambda head, part: (part, head, 0))
    sinks = _sinks(form, heads)
    attended: Array = pl.pallas_call(
        partial(_prefill_tile, walk=walk),
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
        compiler_params=plgpu.CompilerParams(num_warps=tiling.warps, num_stages=tiling.stages),
        name="flash_prefill",
    )(q, keys, values, table, start.reshape(1), *sinks)
    return attended


@dataclass(frozen=True)
class _Walk:
    """Passes over the keys of one sequence, `block` at a time, each split over its share of the blocks."""

    form: Form
    block: int
    tiling: Tiling

    def share(self, split: Array, first: Array, length: Array) -> tuple[Array, Array, Array]:
        """The blocks of a split for the keys from position `first` to `length`: the first one, steps, how many."""
        begin = first // self.block
        count = jnp.maximum(pl.cdiv(length, self.block) - begin, 0)
        working = jnp.clip(pl.cdiv(count, self.tiling.least), 1, self.tiling.splits)
        return begin + split, working, jnp.where(split < working, pl.cdiv(jnp.maximum(count - split, 0), working), 0)

    def run(
        self, q: Array, refs: Any, queries: Array, share: tuple[Array, Array, Array], end: Array, sums: Sums
    ) -> Sums:
        """The sums for queries `q[T, d]` at positions `queries`, that broadcast to `[T, B]`; keys end at `end`."""
        begin, step, count = share
        fetch = partial(self._fetch, *refs, end)

        def plain(index: Array, sums: Sums) -> Sums:
            here = begin + index * step
            return self._add(q, *fetch(here), here, queries, sums)

        def ahead(index: Array, carry: tuple[Block, Sums]) -> tuple[Block, Sums]:
            here = begin + index * step
            following = fetch(here + step)
            return following, self._add(q, *carry[0], here, queries, carry[1])

        if self.tiling.ahead:
            return jax.lax.fori_loop(0, count, ahead, (fetch(begin), sums))[1]
        return jax.lax.fori_loop(0, count, plain, sums)

    def _fetch(self, k_ref: Any, v_ref: Any, table_ref: Any, length: Array, index: Array) -> Block:
        """Block `index`, zeros from `length` on."""
        page, width = k_ref.shape[-2:]
        count = self.block // page
        each, slot, lane = (_iota((count, page, width), axis) for axis in range(3))
        position = index * self.block + each * page + slot
        last = table_ref.shape[0] // count - 1
        ids = table_ref[pl.ds(jnp.minimum(index, last) * count, count)]
        place = jnp.broadcast_to(ids[:, None, None], each.shape), slot, lane
        k, v = (plgpu.load(ref.at[place], mask=position < length, other=0.0) for ref in (k_ref, v_ref))
        return k.reshape(self.block, width), v.reshape(self.block, width)

    def _add(self, q: Array, keys: Array, values: Array, index: Array, queries: Array, sums: Sums) -> Sums:
        top, total, mixed = sums
        scale = q.shape[1] ** -0.5 if self.form.scale is None else self.form.scale
        position = index * self.block + jnp.arange(self.block)
        visible = self.form.visible(queries, position[None])
        scores = jnp.where(visible, self.form.capped(_product(q, keys.T) * scale), MASKED)
        higher = jnp.maximum(top, jnp.max(scores, axis=-1))
        shrink, weights = jnp.exp(top - higher), jnp.exp(scores - higher[:, None])
        total = total * shrink + jnp.sum(weights, axis=-1)
        return higher, total, mixed * shrink[:, None] + _product(weights.astype(values.dtype), values)


def _decode_split(
    q_ref: Any, k_ref: Any, v_ref: Any, table_ref: Any, length_ref: Any, *sum_refs: Any, walk: _Walk, group: int
) -> None:
    """One split of a row's keys for the queries of one KV head; writes the three sums, unless it has no block."""
    split, length = pl.program_id(2), length_ref[...]
    share = walk.share(split, walk.form.first(length - 1), length)
    held = jnp.arange(q_ref.shape[0]) < group

    @pl.when(share[2] > 0)
    def _() -> None:
        q = plgpu.load(q_ref, mask=held[:, None], other=0.0)
        sums = walk.run(q, (k_ref, v_ref, table_ref), length - 1, share, length, _nothing(*q.shape))
        for ref, found in zip(sum_refs, sums, strict=True):
            plgpu.store(ref, found, mask=held if found.ndim == 1 else held[:, None])


def _merged(sums: list[Array], lengths: Array, walk: _Walk, dtype: Any, interpret: bool) -> Array:
    """The sums `[S, K, splits, G]`, twice, and `[S, K, splits, G, d]` of all splits as one `[S, K, G, d]`."""
    rows, kv_heads, splits, group, width = sums[2].shape
    tile = pl.next_power_of_2(group)

    def part(*shape: int) -> pl.BlockSpec:
        return pl.BlockSpec((None, None, *shape), lambda row, head: (row, head, *(0 for _ in shape)))

    sinks = [one.reshape(kv_heads, group) for one in _sinks(walk.form, kv_heads * group)]
    merged: Array = pl.pallas_call(
        partial(_merge, walk=walk, group=group),
        grid=(rows, kv_heads),
        in_specs=[
            part(splits, tile),
            part(splits, tile),
            part(splits, tile, width),
            pl.BlockSpec((None,), lambda row, head: (row,)),
            *[pl.BlockSpec((None, tile), lambda row, head: (head, 0)) for _ in sinks],
        ],
        out_specs=part(tile, width),
        out_shape=jax.ShapeDtypeStruct((rows, kv_heads, group, width), dtype),
        interpret=interpret,
        compiler_params=plgpu.CompilerParams(num_warps=4, num_stages=1),
        name="flash_merge",
    )(*sums, lengths, *sinks)
    return merged


def _merge(top_ref: Any, total_ref: Any, mixed_ref: Any, length_ref: Any, *refs: Any, walk: _Walk, group: int) -> None:
    """Brings the sums of the splits that have any to one scale, and divides."""
    *sink_refs, out_ref = refs
    length = length_ref[...]
    *_, blocks = walk.share(jnp.arange(walk.tiling.splits), walk.form.first(length - 1), length)
    heads = jnp.arange(out_ref.shape[0]) < group
    held = (blocks > 0)[:, None] & heads[None]
    tops = plgpu.load(top_ref, mask=held, other=MASKED)
    totals = plgpu.load(total_ref, mask=held, other=0.0)
    mixed = plgpu.load(mixed_ref, mask=jnp.broadcast_to(held[:, :, None], mixed_ref.shape), other=0.0)
    top = jnp.max(tops, axis=0)
    if sink_refs:
        sink = plgpu.load(sink_refs[0], mask=heads, other=0.0)
        top = jnp.maximum(top, sink)
    shrink = jnp.exp(tops - top[None])
    total = jnp.sum(totals * shrink, axis=0)
    total += jnp.exp(sink - top) if sink_refs else 0.0
    out = jnp.sum(mixed * shrink[:, :, None], axis=0) / jnp.where(total > 0, total, 1.0)[:, None]
    plgpu.store(out_ref, out.astype(out_ref.dtype), mask=heads[:, None])


def _prefill_tile(q_ref: Any, k_ref: Any, v_ref: Any, table_ref: Any, start_ref: Any, *refs: Any, walk: _Walk) -> None:
    """The queries of one head that one program has."""
    *sink_refs, out_ref = refs
    tile, width = q_ref.shape
    first = start_ref[...] + pl.program_id(1) * tile
    end = first + tile
    sums = _nothing(tile, width)
    if sink_refs:
        sums = jnp.zeros(tile, jnp.float32) + sink_refs[0][...], sums[1] + 1.0, sums[2]
    queries = (first + jnp.arange(tile))[:, None]
    share = walk.share(jnp.int32(0), walk.form.first(first), end)
    _, total, mixed = walk.run(q_ref[...], (k_ref, v_ref, table_ref), queries, share, end, sums)
    out_ref[...] = (mixed / jnp.where(total > 0, total, 1.0)[:, None]).astype(out_ref.dtype)


def _product(a: Array, b: Array) -> Array:
    precision = jax.lax.Precision.HIGHEST if a.dtype == jnp.float32 else None
    return jnp.dot(a, b, precision=precision, preferred_element_type=jnp.float32)


def _iota(shape: tuple[int, ...], axis: int) -> Array:
    return jax.lax.broadcasted_iota(jnp.int32, shape, axis)


def _nothing(rows: int, width: int) -> Sums:
    """The sums of no key."""
    zeros = jnp.zeros(rows, jnp.float32)
    return zeros + MASKED, zeros, jnp.zeros((rows, width), jnp.float32)


def _sinks(form: Form, heads: int) -> list[Array]:
    return [] if form.sinks is None else [form.sinks.astype(jnp.float32).reshape(heads)]
