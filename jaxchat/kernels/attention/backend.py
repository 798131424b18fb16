"""What every way to compute attention over a paged KV cache offers, so that the programs need not know which it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from jax import Array

from jaxchat.kernels.attention.spec import AttentionSpec

Cache = tuple[Array, ...]
"""One layer's pages; how many arrays and what their axes mean is the path's own business."""


@dataclass(frozen=True, kw_only=True)
class AttentionShape:
    """What decides whether a path can compute a model's attention.

    `shards` is the number of devices that the heads are split over, `page` the tokens of a KV page; `windows`,
    `caps` and `sinks` say whether any layer has such a form, see `jaxchat.kernels.attention.spec`.
    """

    num_heads: int  # H
    num_kv_heads: int  # K
    head_dim: int  # d
    dtype: str
    page: int
    shards: int = 1
    windows: bool = False
    caps: bool = False
    sinks: bool = False

    @property
    def kv_heads_per_device(self) -> int:
        """KV heads on one device."""
        return self.num_kv_heads // self.shards


class AttentionBackend(Protocol):
    """Writes keys and values into pages and attends over them. Page 0 is never handed out.

    Letters: T tokens in a step, S rows, C chunk, N pages, P pages per sequence, H query heads, K KV heads, d head
    width.
    """

    @property
    def name(self) -> str:
        """One word for logs and reports."""

    @property
    def page_axis(self) -> int:
        """The axis of N in every array of a cache."""

    @property
    def head_axis(self) -> int:
        """The axis that is split over devices."""

    @property
    def cache_dtype(self) -> str:
        """The dtype of every array of a cache."""

    def shapes(self, pages: int) -> tuple[tuple[int, ...], ...]:
        """Shapes of the arrays of one layer's cache of N pages, over all devices."""

    def write_tokens(self, cache: Cache, k: Array, v: Array, page_ids: Array, offsets: Array) -> Cache:
        """Writes `k[T, K, d]` and `v[T, K, d]`, row by row at `page_ids[T]` and `offsets[T]`; an id of N is dropped."""

    def write_chunk(self, cache: Cache, k: Array, v: Array, page_ids: Array) -> Cache:
        """Writes `k[C, K, d]` and `v[C, K, d]` as whole pages `page_ids[C / page]`; an id of N is dropped."""

    def decode(self, q: Array, cache: Cache, table: Array, lengths: Array, active: Array, spec: AttentionSpec) -> Array:
        """Attention of one query per row over that row's keys.

        Args:
            q: `[S, H, d]`.
            cache: as written.
            table: i32 `[S, P]`.
            lengths: i32 `[S]`, keys visible to each query, its own included.
            active: bool `[S]`; the result of other rows is meaningless but finite.
            form: how scores are made and what is seen.

        Returns:
            `[S, H, d]`, f32 or the dtype of q.
        """

    def prefill(self, q: Array, cache: Cache, table: Array, start: Array, spec: AttentionSpec) -> Array:
        """Causal attention of a chunk of one sequence over everything before it and itself.

        Args:
            q: `[C, H, d]`, the queries at positions `start .. start + C - 1`; their keys are already in the cache.
            cache: as written.
            table: i32 `[P]`.
            start: i32 scalar.
            form: as for `decode`.

        Returns:
            `[C, H, d]`, f32 or the dtype of q.
        """
