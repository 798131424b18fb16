"""The path of plain JAX: what a CPU runs, and what every other path is tested against."""

from __future__ import annotations

from dataclasses import dataclass

from jax import Array

from jaxchat.kernels.form import Form
from jaxchat.kernels.paged import decode_attention, held_as, prefill_attention, write_chunk, write_tokens
from jaxchat.kernels.path import AttentionShape, Cache


@dataclass(frozen=True)
class PlainAttention:
    """Keys and values apart, each `[N, page, K, d]`; see `jaxchat.kernels.paged`."""

    shape: AttentionShape
    name = "plain"
    page_axis = 0
    head_axis = 2

    @property
    def held(self) -> str:
        return held_as(self.shape.dtype)

    def shapes(self, pages: int) -> tuple[tuple[int, ...], ...]:
        each = (pages, self.shape.page, self.shape.kv_heads, self.shape.head_width)
        return each, each

    def write_tokens(self, cache: Cache, k: Array, v: Array, page_ids: Array, offsets: Array) -> Cache:
        return tuple(write_tokens(held, new, page_ids, offsets) for held, new in zip(cache, (k, v), strict=True))

    def write_chunk(self, cache: Cache, k: Array, v: Array, page_ids: Array) -> Cache:
        return tuple(write_chunk(held, new, page_ids) for held, new in zip(cache, (k, v), strict=True))

    def decode(self, q: Array, cache: Cache, table: Array, lengths: Array, active: Array, form: Form) -> Array:
        keys, values = cache
        return decode_attention(q, keys, values, table, lengths, active, form)

    def prefill(self, q: Array, cache: Cache, table: Array, start: Array, form: Form) -> Array:
        keys, values = cache
        return prefill_attention(q, keys, values, table, start, form)
