"""The attention backend for NVIDIA GPUs: each device runs the Pallas kernels of `gpu_flash` for its heads.

Letters in shapes are those of `AttentionBackend`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jax.sharding import AbstractMesh, Mesh, PartitionSpec

from jaxchat.kernels.attention.backend import AttentionFactory, AttentionShape, Cache, Shapes
from jaxchat.kernels.attention.kv_rounding import cache_shapes, rounded
from jaxchat.kernels.attention.ragged_batch import RaggedBatch
from jaxchat.kernels.attention.spec import AttentionSpec

MAX_PAGE_BYTES = 32 * 1024  # of a page of one head in shared memory, with the head padded to a power of two
ITEM_BYTES = {"float32": 4, "bfloat16": 2}


def unsupported_reason(shape: AttentionShape) -> str:
    """Returns why the kernels cannot compute a layer of this shape, or "" if they can."""
    width, page = shape.head_dim, shape.page
    if width % 16 or not 16 <= width <= 256:
        return f"head width {width} is not a multiple of 16 from 16 to 256"
    if page & (page - 1):
        return f"page_size {page} is not a power of two"
    if (size := page * (1 << (width - 1).bit_length()) * ITEM_BYTES[shape.dtype]) > MAX_PAGE_BYTES:
        return f"page_size {page} makes pages of {size} bytes, more than {MAX_PAGE_BYTES}"
    return ""


@dataclass(frozen=True)
class TritonAttention:
    """The backend for NVIDIA GPUs, with separate keys and values, each `[K, N, page, d]`.

    If they are int8, they have scales `[K, N, page]` in f32. `interpret` runs the kernels without a GPU.
    """

    shape: AttentionShape
    mesh: Mesh | AbstractMesh
    interpret: bool = False
    name = "triton"
    page_axis = 1
    head_axis = 0

    @property
    def _specs(self) -> tuple[PartitionSpec, PartitionSpec, PartitionSpec]:
        """The partitioning of `[T, heads, d]`, of pages, and of replicated arrays."""
        return PartitionSpec(None, "tensor"), PartitionSpec("tensor"), PartitionSpec()

    def shapes(self, pages: int) -> Shapes:
        tokens = self.shape.num_kv_heads, pages, self.shape.page
        return cache_shapes(tokens, self.shape.head_dim, self.shape.page_dtype)

    def write_tokens(self, cache: Cache, k: Array, v: Array, page_ids: Array, offsets: Array) -> Cache:
        from jaxchat.kernels.attention import gpu_kv_write  # Pallas, which only a GPU needs

        heads, first, replicated = self._specs
        new = rounded(k, v, self.shape.kv_dtype)
        write = partial(gpu_kv_write.write_tokens, interpret=self.interpret)
        specs = (first, heads, replicated, replicated)
        sharded = jax.shard_map(write, mesh=self.mesh, in_specs=specs, out_specs=first, check_vma=False)
        return sharded(cache, new, page_ids, offsets)

    def write_chunk(self, cache: Cache, k: Array, v: Array, page_ids: Array) -> Cache:
        count, page = len(k), self.shape.page
        ids = jnp.repeat(page_ids, page, total_repeat_length=count)
        return self.write_tokens(cache, k, v, ids, jnp.arange(count) % page)

    def decode(self, q: Array, cache: Cache, table: Array, lengths: Array, active: Array, spec: AttentionSpec) -> Array:
        from jaxchat.kernels.attention import gpu_flash

        return self._sharded(gpu_flash.decode, spec)(q, cache, (table, jnp.where(active, lengths, 0)))

    def prefill(self, q: Array, cache: Cache, batch: RaggedBatch, spec: AttentionSpec) -> Array:
        from jaxchat.kernels.attention import gpu_flash

        return self._sharded(gpu_flash.prefill, spec)(q, cache, (batch,))

    def _sharded(self, kernel: Callable[..., Array], spec: AttentionSpec) -> Callable[..., Array]:
        """Returns a function that runs the kernel on each device for that device's heads.

        The function takes the queries, the cache, and a tuple with the kernel's other arrays.
        """
        sinks = () if spec.sinks is None else (spec.sinks,)

        def local(q: Array, cache: Cache, places: tuple[Any, ...], *sinks: Array) -> Array:
            own = replace(spec, sinks=sinks[0]) if sinks else spec
            return kernel(q, cache, *places, own, interpret=self.interpret)

        heads, first, replicated = self._specs
        specs = (heads, first, replicated, *(first for _ in sinks))
        sharded = jax.shard_map(local, mesh=self.mesh, in_specs=specs, out_specs=heads, check_vma=False)
        return lambda q, cache, places: sharded(q, cache, places, *sinks)


TRITON = AttentionFactory(
    build=lambda target: TritonAttention(target.shape, target.mesh),
    platforms=("gpu",),
    kv_dtypes=("int8",),
    unsupported_reason=lambda target: unsupported_reason(target.shape),
    note=lambda target: "Pallas kernels on a GPU",
)
