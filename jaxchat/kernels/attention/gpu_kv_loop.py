"""Online softmax over blocks of paged keys (FlashAttention, arXiv 2205.14135), inside a Pallas kernel for Triton.

Letters in shapes are those of `AttentionBackend`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jax.experimental import pallas as pl
from jax.experimental.pallas import triton as plgpu

from jaxchat.kernels.attention.backend import Cache
from jaxchat.kernels.attention.spec import MASKED, AttentionSpec

MIN_ROWS = 16  # minimum number of rows of a matrix product on tensor cores

Sums = tuple[Array, Array, Array]  # f32: largest score [rows], sum of weights [rows], weighted values [rows, d]
Block = tuple[Array, ...]  # keys and values [block, d], d as padded; if they are int8, also their scales [block]


@dataclass(frozen=True, kw_only=True)
class Tiling:
    """The tiling of a kernel.

    A row's keys are divided into splits: one for every `min_blocks` blocks, rounded up, but at most `splits`.

    Attributes:
        block: number of keys in a block, for keys of 128 numbers in bf16. Larger keys make smaller blocks.
        warps: number of warps of a kernel instance.
        stages: number of stages of its load pipeline: one for page ids, one for accumulation, the others for keys and
            values in flight.
        splits: maximum number of splits.
        min_blocks: number of blocks in a split while a row has fewer than `splits` splits.
        queries: number of queries that a kernel instance computes in a prefill step.
    """

    block: int
    warps: int
    stages: int
    splits: int = 1
    min_blocks: int = 1
    queries: int = 1

    def keys(self, page: int, width: int, itemsize: int) -> int:
        """Returns the number of keys in a block. A block has whole pages.

        Args:
            page: tokens of a page, a power of two.
            width: head dimension, as padded by `padded_width`.
            itemsize: bytes of a number.
        """
        return max(page, MIN_ROWS, min(self.block, self.block * 256 // (width * itemsize)))


@dataclass(frozen=True)
class Pages:
    """The Pallas refs of one kernel instance.

    Attributes:
        cache: keys and values `[N, page, d]` of one KV head, and their scales `[N, page]` if they are int8.
        table: page table of one sequence, i32 `[P]`.
    """

    cache: tuple[Any, ...]
    table: Any

    def fetch(self, index: Array, block: int, end: Array) -> Block:
        """Loads one block of keys and values, and of scales if there are any. Pads d to `padded_width(d)`.

        Positions from `end` on are zeros, because the memory there may hold NaN.

        Args:
            index: number of the block, i32 scalar.
            block: number of keys in a block.
            end: position after the last key, i32 scalar.
        """
        keys, values, *scales = self.cache
        page, width = keys.shape[-2:]
        position = index * block + jnp.arange(block)
        mask = position < end
        ids = plgpu.load(self.table.at[position // page], mask=mask, other=0)
        factors = [plgpu.load(ref.at[ids, position % page], mask=mask, other=0.0) for ref in scales]
        lane = jax.lax.broadcasted_iota(jnp.int32, (block, padded_width(width)), 1)
        ids, slot = (jnp.broadcast_to(x[:, None], lane.shape) for x in (ids, position % page))
        mask = head_mask(mask[:, None], lane.shape, width)
        zero = 0 if scales else 0.0
        return *(plgpu.load(ref.at[ids, slot, lane], mask=mask, other=zero) for ref in (keys, values)), *factors


@dataclass(frozen=True)
class SplitRange:
    """The `count` blocks of one split: `begin`, `begin + step`, `begin + 2 * step` and so on.

    The fields are i32 scalars, or arrays with an entry for each of several splits.
    """

    begin: Array
    step: Array
    count: Array


@dataclass(frozen=True)
class KVLoop:
    """A pass over the keys of one sequence, `block` keys at a time. Each split handles its `SplitRange`."""

    spec: AttentionSpec
    scale: float  # factor of the scores; by default from the head dimension before it is padded
    block: int
    tiling: Tiling

    @staticmethod
    def over(cache: Cache, q: Array, spec: AttentionSpec, tiling: Tiling) -> KVLoop:
        """Creates a pass over pages of keys and values.

        Args:
            cache: the arrays of one layer. Keys and values are `[K, N, page, d]`.
            q: the queries, `[.., d]`. Products with keys and values have the dtype of `q`.
            spec: how scores are computed and which keys are visible.
            tiling: the tiling of the kernel.
        """
        page, width = cache[0].shape[2:]
        return KVLoop(spec, spec.scale_for(width), tiling.keys(page, padded_width(width), q.dtype.itemsize), tiling)

    def splits(self, first: Array, end: Array) -> Array:
        """Returns the number of splits for the keys at positions `first` to `end - 1`.

        Both arguments are i32, and the result has their shape. The number depends on the two positions alone, so that
        neighbours never change a sequence's bits.
        """
        return jnp.clip(pl.cdiv(self._blocks(first, end), self.tiling.min_blocks), 1, self.tiling.splits)

    def split_range(self, split: Array, first: Array, end: Array) -> SplitRange:
        """Returns the blocks of one split. A split has no blocks if its number is at least `splits(first, end)`.

        The arguments are i32 scalars, or arrays with an entry for each of several splits.

        Args:
            split: number of the split, from 0.
            first: position of the first key.
            end: position after the last key.
        """
        splits = self.splits(first, end)
        count = pl.cdiv(jnp.maximum(self._blocks(first, end) - split, 0), splits)
        return SplitRange(first // self.block + split, splits, jnp.where(split < splits, count, 0))

    def _blocks(self, first: Array, end: Array) -> Array:
        return jnp.maximum(pl.cdiv(end, self.block) - first // self.block, 0)

    def run(self, q: Array, pages: Pages, queries: Array, split_range: SplitRange, end: Array, sums: Sums) -> Sums:
        """Adds the keys and values in a split's blocks to `sums`, and returns the new sums.

        Triton prefetches the loads at the start of the loop's body into shared memory.

        Args:
            q: queries, `[T, d]`.
            pages: keys, values and table.
            queries: positions of the queries, i32, broadcastable to `[T, block]`.
            split_range: the blocks to visit.
            end: position after the last key, i32 scalar.
            sums: sums to start from.
        """

        def body(index: Array, sums: Sums) -> Sums:
            block_index = split_range.begin + index * split_range.step
            return self._add(q, pages.fetch(block_index, self.block, end), block_index, queries, sums)

        return jax.lax.fori_loop(0, split_range.count, body, sums)

    def _add(self, q: Array, block: Block, index: Array, queries: Array, sums: Sums) -> Sums:
        keys, values, *scales = block
        if scales:  # integers are exact in any dtype; scores and weights are scaled in place of keys and values
            keys, values = keys.astype(q.dtype), values.astype(q.dtype)
        top, total, mixed = sums
        position = index * self.block + jnp.arange(self.block)
        visible = self.spec.visible(queries, position[None])
        scores = _product(q, keys.T) * self.scale
        scores = scores * scales[0][None] if scales else scores
        scores = jnp.where(visible, self.spec.capped(scores), MASKED)
        higher = jnp.maximum(top, jnp.max(scores, axis=-1))
        shrink, weights = jnp.exp(top - higher), jnp.exp(scores - higher[:, None])
        total = total * shrink + jnp.sum(weights, axis=-1)
        weights = weights * scales[1][None] if scales else weights
        return higher, total, mixed * shrink[:, None] + _product(weights.astype(values.dtype), values)


def _product(a: Array, b: Array) -> Array:
    precision = jax.lax.Precision.HIGHEST if a.dtype == jnp.float32 else None
    return jnp.dot(a, b, precision=precision, preferred_element_type=jnp.float32)


def padded_width(width: int) -> int:
    """Returns the size to which kernels pad the head dimension `width` with zeros: the next power of two."""
    return pl.next_power_of_2(width)


def head_mask(mask: Array | bool, shape: tuple[int, ...], width: int) -> Array:
    """Returns `mask` broadcast to `shape`, bool. It is false from index `width` of the last axis on.

    Args:
        mask: bool, broadcastable to `shape`.
        shape: `[.., padded_width(width)]`.
        width: head dimension.
    """
    mask = jnp.broadcast_to(mask, shape)
    return mask if shape[-1] == width else mask & (jax.lax.broadcasted_iota(jnp.int32, shape, len(shape) - 1) < width)


def empty_sums(rows: int, width: int) -> Sums:
    """Returns the sums before the first key.

    Args:
        rows: number of queries.
        width: head dimension, as padded by `padded_width`.
    """
    zeros = jnp.zeros(rows, jnp.float32)
    return zeros + MASKED, zeros, jnp.zeros((rows, width), jnp.float32)
