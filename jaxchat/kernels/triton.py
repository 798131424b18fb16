"""The path of an NVIDIA GPU: decoding by jax's paged Triton kernel, prefill by cuDNN over gathered pages."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import jax
import jax.numpy as jnp
from jax import Array
from jax.sharding import AbstractMesh, Mesh, PartitionSpec

from jaxchat.kernels.form import Form
from jaxchat.kernels.pallas import triton_paged_attention
from jaxchat.kernels.path import AttentionShape, Cache

SPLITS = 16  # parts of a sequence that are reduced side by side; fixed, so that no length changes the order
KEYS_AT_ONCE = 128  # of a block of keys in shared memory


def refusal(shape: AttentionShape) -> str:
    """Why the kernels cannot compute a model of this shape; empty if they can."""
    if shape.dtype != "bfloat16":
        return f"cuDNN's attention takes no {shape.dtype}"
    if shape.head_width not in (64, 128, 256):
        return f"head width {shape.head_width} is none of 64, 128 and 256"
    if shape.windows or shape.caps or shape.sinks:
        return "the kernels know neither sliding windows nor capped scores nor attention sinks"
    return ""


@dataclass(frozen=True)
class TritonAttention:
    """Keys and values apart, each `[K, N, page, d]`.

    `interpret` and `implementation` exchange the kernels for what runs on a CPU.
    """

    shape: AttentionShape
    mesh: Mesh | AbstractMesh
    interpret: bool = False
    implementation: Literal["cudnn", "xla"] = "cudnn"
    name = "triton"
    page_axis = 1
    head_axis = 0

    @property
    def held(self) -> str:
        return self.shape.dtype

    def shapes(self, pages: int) -> tuple[tuple[int, ...], ...]:
        each = (self.shape.kv_heads, pages, self.shape.page, self.shape.head_width)
        return each, each

    def write_tokens(self, cache: Cache, k: Array, v: Array, page_ids: Array, offsets: Array) -> Cache:
        def write(held: Array, new: Array) -> Array:
            # The kernel reads pages to their end; what a failed request left there may be NaN, and 0 NaN is NaN.
            opened = jnp.where(offsets == 0, page_ids, held.shape[1])
            held = held.at[:, opened].set(0, mode="drop")
            return held.at[:, page_ids, offsets].set(new.swapaxes(0, 1).astype(held.dtype), mode="drop")

        return tuple(write(held, new) for held, new in zip(cache, (k, v), strict=True))

    def write_chunk(self, cache: Cache, k: Array, v: Array, page_ids: Array) -> Cache:
        def write(held: Array, new: Array) -> Array:
            whole = new.swapaxes(0, 1).reshape(held.shape[0], len(page_ids), *held.shape[2:])
            return held.at[:, page_ids].set(whole.astype(held.dtype), mode="drop")

        return tuple(write(held, new) for held, new in zip(cache, (k, v), strict=True))

    def decode(self, q: Array, cache: Cache, table: Array, lengths: Array, active: Array, form: Form) -> Array:
        kernel = triton_paged_attention()
        pages = KEYS_AT_ONCE // self.shape.page
        lengths = jnp.where(active, lengths, 1)
        held = jnp.arange(table.shape[1]) * self.shape.page < lengths[:, None]
        table = jnp.where(held, table, 0)  # it also reads whole blocks of pages; the null page is clean
        table = jnp.pad(table, ((0, 0), (0, -table.shape[1] % (SPLITS * pages))))

        def local(q: Array, keys: Array, values: Array, table: Array, lengths: Array) -> Array:
            return kernel(
                form.scaled(q).astype(q.dtype),  # the kernel does not scale
                keys,
                values,
                table,
                lengths,
                pages_per_compute_block=pages,
                k_splits=SPLITS,
                interpret=self.interpret,
            )

        return self._spread(local)(q, *cache, table, lengths)

    def prefill(self, q: Array, cache: Cache, table: Array, start: Array, form: Form) -> Array:
        chunk = len(q)
        table = jnp.pad(table, (0, -len(table) % (chunk // self.shape.page)))

        def local(q: Array, keys: Array, values: Array, table: Array, start: Array) -> Array:
            keys, values = (_in_order(pages, table) for pages in (keys, values))
            position = jnp.arange(len(keys))
            values = jnp.where((position < start + chunk)[:, None, None], values, 0)  # maybe NaN, as in write_tokens
            visible = form.visible(start + jnp.arange(chunk)[:, None], position)
            return jax.nn.dot_product_attention(
                q, keys, values, mask=visible[None], scale=form.scale, implementation=self.implementation
            )

        return self._spread(local)(q, *cache, table, start)

    def _spread(self, local: Callable[..., Array]) -> Callable[..., Array]:
        heads, pages, whole = PartitionSpec(None, "tensor"), PartitionSpec("tensor"), PartitionSpec()
        specs = (heads, pages, pages, whole, whole)
        return jax.shard_map(local, mesh=self.mesh, in_specs=specs, out_specs=heads, check_vma=False)


def _in_order(pages: Array, table: Array) -> Array:
    """The keys or values of one sequence: `[K, N, page, d]` and `[P]` to `[P page, K, d]`."""
    found = pages[:, table]
    return found.reshape(found.shape[0], math.prod(found.shape[1:3]), -1).swapaxes(0, 1)
