"""Online softmax over blocks of paged keys (FlashAttention, arXiv 2205.14135), inside a Pallas kernel for Triton."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jax.experimental import pallas as pl
from jax.experimental.pallas import triton as plgpu

from jaxchat.kernels.attention.spec import MASKED, AttentionSpec

MIN_ROWS = 16  # rows of a product on tensor cores

Sums = tuple[Array, Array, Array]  # largest score, sum of weights, weighted values
Block = tuple[Array, Array]  # keys and values `[B, d]`


@dataclass(frozen=True, kw_only=True)
class Tiling:
    """How a kernel is cut up: keys of a block, warps of a program, stages of its pipeline of loads.

    A row's keys are shared by `splits`, as far as each has `min_blocks` blocks; `queries` are those of a prefill program.
    """

    block: int  # of 128 numbers in bf16; of larger keys there are fewer
    warps: int
    stages: int  # one for page ids, one for adding up, the others for keys and values on their way
    splits: int = 1
    min_blocks: int = 1
    queries: int = 1

    def keys(self, page: int, width: int, itemsize: int) -> int:
        """Keys of a block, whole pages."""
        return max(page, MIN_ROWS, min(self.block, self.block * 256 // (width * itemsize)))


@dataclass(frozen=True)
class Pages:
    """References of a kernel: keys and values `[N, page, d]` of one head, and the table `[P]` of one sequence."""

    keys: Any
    values: Any
    table: Any

    def fetch(self, index: Array, block: int, end: Array) -> Block:
        """Block `index`, as `padded_width` as a kernel has it; zeros from position `end` on, as what lies there may be NaN."""
        page, width = self.keys.shape[-2:]
        position = index * block + jnp.arange(block)
        mask = position < end
        ids = plgpu.load(self.table.at[position // page], mask=mask, other=0)
        lane = jax.lax.broadcasted_iota(jnp.int32, (block, padded_width(width)), 1)
        ids, slot = (jnp.broadcast_to(x[:, None], lane.shape) for x in (ids, position % page))
        mask = head_mask(mask[:, None], lane.shape, width)
        k, v = (plgpu.load(ref.at[ids, slot, lane], mask=mask, other=0.0) for ref in (self.keys, self.values))
        return k, v


@dataclass(frozen=True)
class SplitRange:
    """The blocks of one split: `count` of them from block `begin`, every `step`-th."""

    begin: Array
    step: Array
    count: Array


@dataclass(frozen=True)
class KVLoop:
    """Passes over the keys of one sequence, `block` at a time, each split over its share of the blocks."""

    spec: AttentionSpec
    scale: float  # of the scores; by default of the head's own width, which is not always the kernel's
    block: int
    tiling: Tiling

    @staticmethod
    def over(keys: Array, spec: AttentionSpec, tiling: Tiling) -> KVLoop:
        """A pass over pages of keys `[K, N, page, d]`."""
        page, width = keys.shape[2:]
        scale = width**-0.5 if spec.scale is None else spec.scale
        return KVLoop(spec, scale, tiling.keys(page, padded_width(width), keys.dtype.itemsize), tiling)

    def splits(self, first: Array, end: Array) -> Array:
        """How many share the keys from position `first` to `end`; it depends on nothing else."""
        return jnp.clip(pl.cdiv(self._blocks(first, end), self.tiling.min_blocks), 1, self.tiling.splits)

    def split_range(self, split: Array, first: Array, end: Array) -> SplitRange:
        """What one split has of the keys from position `first` to `end`."""
        splits = self.splits(first, end)
        count = pl.cdiv(jnp.maximum(self._blocks(first, end) - split, 0), splits)
        return SplitRange(first // self.block + split, splits, jnp.where(split < splits, count, 0))

    def _blocks(self, first: Array, end: Array) -> Array:
        return jnp.maximum(pl.cdiv(end, self.block) - first // self.block, 0)

    def run(self, q: Array, pages: Pages, queries: Array, split_range: SplitRange, end: Array, sums: Sums) -> Sums:
        """The sums for queries `q[T, d]` at positions `queries`, that broadcast to `[T, B]`; keys end at `end`.

        Loads that a loop's body begins with are what Triton moves ahead of it, into shared memory.
        """

        def body(index: Array, sums: Sums) -> Sums:
            block_index = split_range.begin + index * split_range.step
            return self._add(q, *pages.fetch(block_index, self.block, end), block_index, queries, sums)

        return jax.lax.fori_loop(0, split_range.count, body, sums)

    def _add(self, q: Array, keys: Array, values: Array, index: Array, queries: Array, sums: Sums) -> Sums:
        top, total, mixed = sums
        position = index * self.block + jnp.arange(self.block)
        visible = self.spec.visible(queries, position[None])
        scores = jnp.where(visible, self.spec.capped(_product(q, keys.T) * self.scale), MASKED)
        higher = jnp.maximum(top, jnp.max(scores, axis=-1))
        shrink, weights = jnp.exp(top - higher), jnp.exp(scores - higher[:, None])
        total = total * shrink + jnp.sum(weights, axis=-1)
        return higher, total, mixed * shrink[:, None] + _product(weights.astype(values.dtype), values)


def _product(a: Array, b: Array) -> Array:
    precision = jax.lax.Precision.HIGHEST if a.dtype == jnp.float32 else None
    return jnp.dot(a, b, precision=precision, preferred_element_type=jnp.float32)


def padded_width(width: int) -> int:
    """Numbers that a kernel has of a head so wide, zeros behind its own: a power of two."""
    return pl.next_power_of_2(width)


def head_mask(mask: Array | bool, shape: tuple[int, ...], width: int) -> Array:
    """The mask as one of `shape`, `[..., padded_width(width)]`, without what lies behind a head's own numbers."""
    mask = jnp.broadcast_to(mask, shape)
    return mask if shape[-1] == width else mask & (jax.lax.broadcasted_iota(jnp.int32, shape, len(shape) - 1) < width)


def empty_sums(rows: int, width: int) -> Sums:
    """The sums of no key."""
    zeros = jnp.zeros(rows, jnp.float32)
    return zeros + MASKED, zeros, jnp.zeros((rows, width), jnp.float32)
