"""Attention in C++ on a CPU, over the pages of the XLA backend. A query's bits depend on its own sequence alone.

Queries of one sequence and one KV head share each block of keys. Threads divide sequences and heads among themselves.
For 8 rows of 1,000 keys (H = 14, K = 2, d = 64), this takes 0.3 ms on two cores. The XLA backend takes 1.0 ms on one
core.

Letters in shapes are those of `AttentionBackend`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxchat.kernels.attention.backend import AttentionFactory, Cache
from jaxchat.kernels.attention.ragged_batch import RaggedBatch
from jaxchat.kernels.attention.spec import MASKED, AttentionSpec
from jaxchat.kernels.attention.xla import XlaAttention
from jaxchat.kernels.cpp.build import register

TARGETS = {"float32": "attention_f32", "bfloat16": "attention_bf16", "int8": "attention_s8"}


def native_attention(folder: Path | None) -> dict[str, str]:
    """Returns the names of the custom calls by the dtype of keys and values in pages.

    Builds the kernels into `folder`; None builds them for this process alone.

    Raises:
        NativeError: the kernels cannot be built or loaded.
    """
    identity = register(folder, tuple(TARGETS.values()))
    return {dtype: f"{name}_{identity}" for dtype, name in TARGETS.items()}


@dataclass(frozen=True)
class NativeAttention(XlaAttention):
    """The C++ backend, with the pages of `XlaAttention`. `target` is the custom call for the dtype of the pages."""

    target: str
    name = "native"

    def decode(self, q: Array, cache: Cache, table: Array, lengths: Array, active: Array, spec: AttentionSpec) -> Array:
        bounds = jnp.arange(len(q) + 1, dtype=jnp.int32)
        return self._attend(q, cache, table, bounds, jnp.where(active, lengths, 0), spec)

    def prefill(self, q: Array, cache: Cache, batch: RaggedBatch, spec: AttentionSpec) -> Array:
        return self._attend(q, cache, batch.tables, batch.bounds, batch.positions(len(q)) + 1, spec)

    def _attend(
        self, q: Array, cache: Cache, table: Array, bounds: Array, lengths: Array, spec: AttentionSpec
    ) -> Array:
        """Calls the kernel.

        Args:
            q: `[T, H, d]`, queries of B sequences.
            cache: keys and values, and their scales if they are int8.
            table: i32 `[B, P]`, page ids.
            bounds: i32 `[B + 1]`; rows `bounds[i]` to `bounds[i + 1] - 1` of q belong to sequence i.
            lengths: i32 `[T]`, number of keys up to each query, including its own.
            spec: how scores are computed and which keys are visible.

        Returns:
            f32 `[T, H, d]`, zeros in rows without a sequence.
        """
        sinks = jnp.full(q.shape[1], MASKED) if spec.sinks is None else jnp.asarray(spec.sinks)
        seen = jnp.minimum(lengths, table.shape[1] * self.shape.page).astype(jnp.int32)
        call = jax.ffi.ffi_call(self.target, jax.ShapeDtypeStruct(q.shape, jnp.float32))
        mixed: Array = call(
            *(spec.scaled(q), *cache, table, bounds, seen, sinks.astype(jnp.float32)),
            window=np.int64(spec.window),
            cap=np.float32(spec.cap),
        )
        return mixed


NATIVE = AttentionFactory(
    build=lambda target: NativeAttention(target.shape, target.native[target.shape.page_dtype]),
    platforms=("cpu",),
    kv_dtypes=("int8",),
    unsupported_reason=lambda target: "" if target.native else "the kernels in C++ are not available",
    note=lambda target: "kernels in C++ on a CPU",
)
