"""The attention backend for TPUs: jax's ragged paged attention kernel, for decode and prefill alike.

The kernel accepts only heads of dimension 128. Narrower heads are padded with zeros. This changes no score, but takes
KV memory.

Letters in shapes are those of `AttentionBackend`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jax import Array
from jax.sharding import AbstractMesh, Mesh, PartitionSpec

from jaxchat.compat import ragged_paged_attention
from jaxchat.kernels.attention.backend import AttentionFactory, AttentionShape, AttentionTarget, Cache, Shapes
from jaxchat.kernels.attention.ragged_batch import RaggedBatch
from jaxchat.kernels.attention.spec import AttentionSpec

Kernel = Callable[..., Array]
LANES = 128  # the head width that the kernel is written for
KEYS_PER_BLOCK = 1024  # keys of a block in vector memory; most entries of the kernel's own table amount to this
KEYS_OF_ALL_HEADS = 4096  # of a block; with more, the compiler reports that vector memory is exhausted
QUERIES_PER_BLOCK = 32  # fixed, so that programs of different row counts reduce in the same order


def unsupported_reason(shape: AttentionShape) -> str:
    """Returns why the kernel cannot compute a layer of this shape, or "" if it can."""
    if shape.head_dim > LANES:
        return f"head width {shape.head_dim} is more than the kernel's {LANES}"
    if shape.sinks:
        return "the kernel does not support attention sinks"
    if shape.kv_dtype:
        return f"the kernel scales all keys alike, but kv_dtype {shape.kv_dtype} has a scale for each token and head"
    packing = 4 // jnp.dtype(shape.dtype).itemsize  # rows of a tile that share a 32-bit word
    tiles, remainder = divmod(2 * shape.kv_heads_per_device, packing)
    if remainder or not (tiles in (1, 2, 4, 8) or tiles % 8 == 0):
        return f"{shape.kv_heads_per_device} KV heads on a device do not fill the kernel's tiles in {shape.dtype}"
    return ""


@dataclass(frozen=True)
class RaggedAttention:
    """The backend for TPUs. A layer has one array, `[N, page, 2 K, 128]`, with each head's key before its value."""

    shape: AttentionShape
    mesh: Mesh | AbstractMesh
    load: Callable[[], Kernel] = ragged_paged_attention
    name = "ragged"
    page_axis = 0
    head_axis = 2

    def shapes(self, pages: int) -> Shapes:
        shape = pages, self.shape.page, 2 * self.shape.num_kv_heads, LANES
        return (jax.ShapeDtypeStruct(shape, self.shape.dtype),)

    def write_tokens(self, cache: Cache, k: Array, v: Array, page_ids: Array, offsets: Array) -> Cache:
        (pages,) = cache
        return (pages.at[page_ids, offsets].set(_side_by_side(k, v).astype(pages.dtype), mode="drop"),)

    def write_chunk(self, cache: Cache, k: Array, v: Array, page_ids: Array) -> Cache:
        (pages,) = cache
        new = _side_by_side(k, v).astype(pages.dtype).reshape(len(page_ids), *pages.shape[1:])
        return (pages.at[page_ids].set(new, mode="drop"),)

    def decode(self, q: Array, cache: Cache, table: Array, lengths: Array, active: Array, spec: AttentionSpec) -> Array:
        seen, bounds = jnp.where(active, lengths, 1), jnp.arange(len(q) + 1, dtype=jnp.int32)
        return self._attend(q, cache, table, seen, bounds, jnp.int32(len(q)), spec)

    def prefill(self, q: Array, cache: Cache, batch: RaggedBatch, spec: AttentionSpec) -> Array:
        lengths, used = batch.starts + batch.counts, jnp.sum(batch.counts > 0, dtype=jnp.int32)
        attended = self._attend(q, cache, batch.tables, lengths, batch.bounds, used, spec)
        in_use = jnp.arange(len(q)) < batch.bounds[-1]  # the kernel leaves other rows as they are in memory
        return jnp.where(in_use[:, None, None], attended, 0)

    def _attend(
        self, q: Array, cache: Cache, table: Array, lengths: Array, bounds: Array, used: Array, spec: AttentionSpec
    ) -> Array:
        """Computes attention over B sequences.

        Args:
            q: `[T, H, d]`, the queries of the last tokens of each sequence.
            cache: the array of one layer.
            table: i32 `[B, P]`, page ids.
            lengths: i32 `[B]`, tokens of each sequence, including its queries.
            bounds: i32 `[B + 1]`; rows `bounds[i]` to `bounds[i + 1] - 1` of q belong to sequence i.
            used: i32 scalar, number of sequences that have rows. They come first.
            spec: how scores are computed and which keys are visible.

        Returns:
            `[T, H, d]` in q's dtype.
        """
        kernel, shape = self.load(), self.shape
        keys = min(KEYS_PER_BLOCK, KEYS_OF_ALL_HEADS // shape.kv_heads_per_device)
        blocks = max(1, min(table.shape[1], keys // shape.page))

        def local(q: Array, pages: Array, lengths: Array, table: Array, bounds: Array, used: Array) -> Array:
            return kernel(
                q,
                pages,
                lengths,
                table,
                bounds,
                used[None],
                sm_scale=spec.scale_for(shape.head_dim),
                sliding_window=spec.window or None,
                soft_cap=spec.cap or None,
                num_kv_pages_per_block=blocks,
                num_queries_per_block=min(len(q), QUERIES_PER_BLOCK),
            )

        heads, pages, replicated = PartitionSpec(None, "tensor"), PartitionSpec(None, None, "tensor"), PartitionSpec()
        sharded = jax.shard_map(
            local,
            mesh=self.mesh,
            in_specs=(heads, pages, replicated, replicated, replicated, replicated),
            out_specs=heads,
            check_vma=False,
        )
        return sharded(_padded_heads(q), cache[0], lengths, table, bounds, used)[..., : shape.head_dim]


def _padded_heads(x: Array) -> Array:
    return jnp.pad(x, ((0, 0), (0, 0), (0, LANES - x.shape[-1])))


def _side_by_side(k: Array, v: Array) -> Array:
    """Interleaves keys and values, `[T, K, d]` each, to `[T, 2 K, 128]`."""
    return jnp.stack([_padded_heads(k), _padded_heads(v)], axis=2).reshape(len(k), -1, LANES)


def padding_note(width: int, padded: int) -> str:
    """Returns the end of a note about a kernel: how heads are padded, or "" if they are not."""
    return "" if width == padded else f", heads padded from {width} to {padded}"


def _note(target: AttentionTarget) -> str:
    return "Pallas kernel on a TPU" + padding_note(target.shape.head_dim, LANES)


RAGGED = AttentionFactory(
    build=lambda target: RaggedAttention(target.shape, target.mesh),
    platforms=("tpu",),
    unsupported_reason=lambda target: unsupported_reason(target.shape),
    note=_note,
)
