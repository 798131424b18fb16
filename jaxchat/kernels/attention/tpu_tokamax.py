"""The attention backend for TPUs from v5 on: tokamax's batched ragged paged attention, for heads of any width.

Heads are padded with zeros to a multiple of 128. This changes no score, but takes KV memory.

The kernel puts blocks of several sequences side by side into one step. A block multiplies what the block before it has
accumulated by a factor, which is 0 at the first block of a sequence. So a sequence takes nothing from its neighbours as
long as all numbers are finite. Queries, keys and values are therefore limited to `LIMIT` before the kernel sees them.
`docs/decisions/tpu-attention.md` has the details.

Letters in shapes are those of `AttentionBackend`. p is the number of rows that share a 32-bit word, 2 for bf16.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jax.sharding import AbstractMesh, Mesh, PartitionSpec

from jaxchat.arithmetic import cdiv
from jaxchat.compat import tokamax_paged_attention
from jaxchat.kernels.attention.backend import AttentionFactory, AttentionShape, AttentionTarget, Cache, Shapes
from jaxchat.kernels.attention.ragged_batch import RaggedBatch
from jaxchat.kernels.attention.spec import AttentionSpec
from jaxchat.kernels.attention.tpu_ragged import padding_note

Kernel = Callable[..., tuple[Array, Array]]
LANES = 128
LIMIT = 1e15  # of queries, keys and values; scores and sums of their products then stay finite in f32
STEP_BYTES = 4 * 1024**2  # of the keys and values of one step, of which three are in vector memory
QUERY_BYTES = 2 * 1024**2  # of the queries of one block, in f32
MAX_STEPS = 2048  # that the kernel's schedule holds at least


def unsupported_reason(shape: AttentionShape) -> str:
    """Returns why the kernel cannot compute a layer of this shape, or "" if it can."""
    if shape.sinks:
        return "tokamax's kernel does not support attention sinks"
    if shape.kv_dtype:
        return (
            f"tokamax's kernel scales all keys alike, but kv_dtype {shape.kv_dtype} has a scale for each token and head"
        )
    if shape.page < 64:
        return f"page_size {shape.page} is less than the 64 tokens that tokamax's kernel needs"
    if find_spec("tokamax") is None:
        return "tokamax is not installed (pip install 'jaxchat[tpu-fast]', from Python 3.12 on)"
    return ""


@dataclass(frozen=True, kw_only=True)
class Blocks:
    """The sizes of the kernel's blocks for a layer. Every program has the same ones, so that all add in the same order.

    Attributes:
        keys: number of keys in a block, a multiple of 128.
        sequences: number of sequences of which the kernel takes a block each at once, in decoding.
        slices: number of sequences of which the kernel takes a block each at once, in a prefill.
        queries: number of queries in a block, in a prefill; a multiple of 16.
    """

    keys: int
    sequences: int
    slices: int
    queries: int

    @staticmethod
    def of(shape: AttentionShape) -> Blocks:
        """Returns the sizes for a layer, the same for any number of rows.

        They are as large as `STEP_BYTES` and `QUERY_BYTES` allow, but from 128 to 512 keys, from 1 to 8 sequences and
        from 16 to 128 queries.
        """
        width, item = _padded_width(shape), jnp.dtype(shape.dtype).itemsize
        tokens = STEP_BYTES // (2 * shape.kv_heads_per_device * width * item)
        keys = min(max(tokens // 4 // LANES, 1), 4) * LANES
        sequences = min(max(tokens // keys, 1), 8)
        queries = QUERY_BYTES // (shape.num_heads // shape.shards * width * 4)
        return Blocks(
            keys=keys,
            sequences=sequences,
            slices=min(sequences, 2),
            queries=min(max(queries // 16, 1) * 16, 128),
        )


@dataclass(frozen=True)
class TokamaxAttention:
    """The backend for TPUs from v5 on. A layer has one array, `[N, page, 2 K / p, p, d]`, each key before its value."""

    shape: AttentionShape
    mesh: Mesh | AbstractMesh
    load: Callable[..., Kernel] = tokamax_paged_attention
    interpret: Any = False  # `pltpu.InterpretParams()` writes without a TPU
    name = "tokamax"
    page_axis = 0
    head_axis = 2

    @property
    def _packing(self) -> int:
        return 4 // jnp.dtype(self.shape.dtype).itemsize

    def shapes(self, pages: int) -> Shapes:
        rows = 2 * self.shape.num_kv_heads // self._packing, self._packing
        shape = pages, self.shape.page, *rows, _padded_width(self.shape)
        return (jax.ShapeDtypeStruct(shape, self.shape.dtype),)

    def write_tokens(self, cache: Cache, k: Array, v: Array, page_ids: Array, offsets: Array) -> Cache:
        return (self._write(cache[0], self._side_by_side(k, v), page_ids, offsets),)

    def write_chunk(self, cache: Cache, k: Array, v: Array, page_ids: Array) -> Cache:
        (pages,) = cache
        return (self._write(pages, self._side_by_side(k, v).reshape(-1, *pages.shape[1:]), page_ids),)

    def _write(self, pages: Array, new: Array, *places: Array) -> Array:
        """Returns the pages with `new[T, .., 2 K / p, p, d]` at T places: an i32 `[T]` for each leading axis."""
        from jaxchat.kernels.attention.tpu_kv_write import write_rows  # Pallas, which only a TPU needs

        def heads(array: Array) -> PartitionSpec:
            return PartitionSpec(*[None] * (array.ndim - 3), "tensor")

        sharded = jax.shard_map(
            partial(write_rows, interpret=self.interpret),
            mesh=self.mesh,
            in_specs=(heads(pages), heads(new), *[PartitionSpec()] * len(places)),
            out_specs=heads(pages),
            check_vma=False,
        )
        written: Array = sharded(pages, new, *places)
        return written

    def decode(
        self, q: Array, cache: Cache, table: Array, lengths: Array, active: Array, spec: AttentionSpec
    ) -> tuple[Array, Cache]:
        seen, attended = jnp.where(active, lengths, 1), list[Array]()
        blocks = Blocks.of(self.shape)
        rows = max(1, MAX_STEPS * blocks.sequences // self._key_blocks(table))  # that one schedule surely holds
        for first in range(0, len(q), rows):
            here = slice(first, first + rows)
            count = len(q[here])
            bounds, kinds = jnp.arange(count + 1, dtype=jnp.int32), jnp.full(3, count, jnp.int32)
            part, cache = self._attend(q[here], cache, table[here], seen[here], bounds, kinds, spec)
            attended.append(part)
        return jnp.concatenate(attended), cache

    def prefill(self, q: Array, cache: Cache, batch: RaggedBatch, spec: AttentionSpec) -> tuple[Array, Cache]:
        blocks, lengths = Blocks.of(self.shape), batch.starts + batch.counts
        needed = (cdiv(len(q), blocks.queries) + len(lengths)) * self._key_blocks(batch.tables)
        if needed > (most := MAX_STEPS * blocks.slices):
            raise ValueError(
                f"attention tokamax: a prefill step of {len(q)} tokens over sequences of "
                f"{batch.tables.shape[1] * self.shape.page} needs {needed} blocks of keys, more than {most}; "
                "a smaller max_seq_len needs fewer"
            )
        kinds = jnp.array([0, 0, 1], jnp.int32) * jnp.sum(batch.counts > 0, dtype=jnp.int32)
        return self._attend(q, cache, batch.tables, lengths, batch.bounds, kinds, spec)

    def _key_blocks(self, table: Array) -> int:
        """Returns the number of blocks that the longest sequence has keys in."""
        return cdiv(table.shape[1] * self.shape.page, Blocks.of(self.shape).keys)

    def _attend(
        self, q: Array, cache: Cache, table: Array, lengths: Array, bounds: Array, kinds: Array, spec: AttentionSpec
    ) -> tuple[Array, Cache]:
        """Computes attention over B sequences. Returns f32 `[T, H, d]` and the arrays of the cache, unchanged.

        Args:
            q: `[T, H, d]`, the queries of the last tokens of each sequence.
            cache: the array of one layer.
            table: i32 `[B, P]`, page ids.
            lengths: i32 `[B]`, tokens of each sequence, including its queries.
            bounds: i32 `[B + 1]`; rows `bounds[i]` to `bounds[i + 1] - 1` of q belong to sequence i.
            kinds: i32 `[3]`; sequences before `kinds[0]` have one query, and sequences from `kinds[1]` to
                `kinds[2] - 1` any number.
            spec: how scores are computed and which keys are visible.
        """
        shape, blocks = self.shape, Blocks.of(self.shape)
        kernel = self.load(
            bkv_sz=blocks.keys,
            decode_batch_size=blocks.sequences,
            prefill_batch_size=blocks.slices,
            prefill_bq_sz=blocks.queries,
            prefill_bq_c_sz=min(blocks.queries, 64),
            n_buffer=3,
        )

        def local(
            q: Array, pages: Array, lengths: Array, table: Array, bounds: Array, kinds: Array
        ) -> tuple[Array, Array]:
            unused = jnp.zeros((len(q), shape.kv_heads_per_device, shape.head_dim), pages.dtype)
            return kernel(
                queries=q,
                keys=unused,
                values=unused,
                kv_cache=pages,
                kv_lens=lengths,
                page_indices=table.ravel(),
                cu_q_lens=bounds,
                distribution=kinds,
                sm_scale=spec.scale_for(shape.head_dim),
                sliding_window=spec.window or None,
                soft_cap=spec.cap or None,
                skip_kv_update=True,  # the pages hold the keys and values of all queries already
            )

        heads, pages, replicated = PartitionSpec(None, "tensor"), PartitionSpec(None, None, "tensor"), PartitionSpec()
        sharded = jax.shard_map(
            local,
            mesh=self.mesh,
            in_specs=(heads, pages, replicated, replicated, replicated, replicated),
            out_specs=(heads, pages),
            check_vma=False,
        )
        # In f32, because the kernel keeps its sums in the dtype of queries.
        attended, kept = sharded(_limited(q.astype(jnp.float32)), cache[0], lengths, table, bounds, kinds)
        return attended, (kept,)

    def _side_by_side(self, k: Array, v: Array) -> Array:
        """Interleaves keys and values, `[T, K, d]` each, to `[T, 2 K / p, p, d]`, padded to the pages' width."""
        new = _limited(jnp.stack([k, v], axis=2).astype(self.shape.dtype))
        new = jnp.pad(new, ((0, 0), (0, 0), (0, 0), (0, _padded_width(self.shape) - k.shape[-1])))
        return new.reshape(len(k), -1, self._packing, new.shape[-1])


def _padded_width(shape: AttentionShape) -> int:
    return cdiv(shape.head_dim, LANES) * LANES


def _limited(x: Array) -> Array:
    """Returns `x` with zeros in place of NaN, and other numbers limited to -LIMIT .. LIMIT."""
    return jnp.clip(jnp.where(jnp.isnan(x), 0, x), -LIMIT, LIMIT)


def _note(target: AttentionTarget) -> str:
    return "tokamax's Pallas kernel on a TPU" + padding_note(target.shape.head_dim, _padded_width(target.shape))


TOKAMAX = AttentionFactory(
    build=lambda target: TokamaxAttention(target.shape, target.mesh),
    platforms=("tpu",),
    unsupported_reason=lambda target: unsupported_reason(target.shape),
    note=_note,
)
