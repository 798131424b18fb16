"""The interface of attention backends over a paged KV cache. Programs are built in the same way for every backend."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

import jax
from jax import Array
from jax.sharding import AbstractMesh, Mesh

from jaxchat.kernels.attention.ragged_batch import RaggedBatch
from jaxchat.kernels.attention.spec import AttentionSpec

Cache = tuple[Array, ...]
"""One layer's pages. The backend decides how many arrays there are and what their axes mean."""
Attended = Array | tuple[Array, Cache]
"""The result of attention, `[T, H, d]`. A backend whose kernel takes the cache over returns the cache too."""
Shapes = tuple[jax.ShapeDtypeStruct, ...]


@dataclass(frozen=True, kw_only=True)
class AttentionShape:
    """The properties of a layer, and of its model, that decide whether a backend can compute its attention.

    Attributes:
        num_heads: H.
        num_kv_heads: K.
        head_dim: d.
        dtype: dtype of keys and values as they are computed.
        page: number of tokens in a KV page.
        kv_dtype: dtype of rounded keys and values in pages; None if pages hold them without rounding.
        shards: number of devices that the heads are split over.
        windows: whether any layer of the model has a window.
        caps: whether any layer of the model has a cap of scores.
        sinks: whether any layer of the model has attention sinks.
    """

    num_heads: int
    num_kv_heads: int
    head_dim: int
    dtype: str
    page: int
    kv_dtype: str | None = None
    shards: int = 1
    windows: bool = False
    caps: bool = False
    sinks: bool = False

    @property
    def page_dtype(self) -> str:
        """The dtype of keys and values in pages."""
        return self.kv_dtype or self.dtype

    @property
    def kv_heads_per_device(self) -> int:
        """The number of KV heads on one device."""
        return self.num_kv_heads // self.shards


class AttentionBackend(Protocol):
    """An implementation that writes keys and values into pages and attends over them. Page 0 is the null page.

    Letters: T tokens in a step, R rows, N pages, P pages per sequence, H query heads, K KV heads, d head dimension.
    """

    @property
    def name(self) -> str:
        """The backend's name in logs and reports, one word."""

    @property
    def page_axis(self) -> int:
        """The index of the page axis in every array of a cache."""

    @property
    def head_axis(self) -> int:
        """The index of the KV-head axis in every array of a cache. This axis is split over devices."""

    def shapes(self, pages: int) -> Shapes:
        """Returns shape and dtype of each array in one layer's cache with `pages` pages, all devices together."""

    def write_tokens(self, cache: Cache, k: Array, v: Array, page_ids: Array, offsets: Array) -> Cache:
        """Writes `k[T, K, d]` and `v[T, K, d]` row by row at `page_ids[T]` and `offsets[T]`, both i32.

        Drops rows whose page id is N. Returns the arrays of the cache.
        """

    def write_chunk(self, cache: Cache, k: Array, v: Array, page_ids: Array) -> Cache:
        """Writes `k[T, K, d]` and `v[T, K, d]` to whole pages, whose ids are `page_ids[T / page]`, i32.

        Drops pages whose id is N. Returns the arrays of the cache.
        """

    def decode(
        self, q: Array, cache: Cache, table: Array, lengths: Array, active: Array, spec: AttentionSpec
    ) -> Attended:
        """Computes attention of one query per row over that row's keys.

        Args:
            q: queries, `[R, H, d]`, f32 or bf16.
            cache: the arrays of one layer, after the write.
            table: i32 `[R, P]`, page ids.
            lengths: i32 `[R]`, number of keys of each row, including the query's own key.
            active: bool `[R]`, the rows in use. The results of other rows are meaningless but finite.
            spec: how scores are computed and which keys are visible.

        Returns:
            `[R, H, d]`, f32 or the dtype of q. A backend may return it with the arrays of the cache, unchanged, which
            then take the place of `cache`.
        """

    def prefill(self, q: Array, cache: Cache, batch: RaggedBatch, spec: AttentionSpec) -> Attended:
        """Computes causal attention for successive tokens of several sequences.

        Each token attends to itself and to the earlier tokens of its sequence.

        Args:
            q: queries of the batch's rows, `[T, H, d]`, f32 or bf16. Their keys are in the cache.
            cache: the arrays of one layer, after the write.
            batch: the sequences and their rows.
            spec: how scores are computed and which keys are visible.

        Returns:
            `[T, H, d]`, f32 or the dtype of q, or that with the cache, as from `decode`. Rows of padding are
            meaningless but finite.
        """


@dataclass(frozen=True)
class ModelAttention:
    """The backends of a model. All have the same name and axes, but their numbers and sizes of heads may differ.

    Attributes:
        layers: the backend of each layer; None for a layer that uses the keys and values of an earlier layer. The
            earlier layer's backend then serves both layers.
    """

    layers: tuple[AttentionBackend | None, ...]

    @property
    def first(self) -> AttentionBackend:
        """The first backend. All others have the same name and axes."""
        return next(backend for backend in self.layers if backend)

    def of(self, layer: int) -> AttentionBackend:
        """Returns the backend of a layer. The layer must not use the keys of an earlier layer."""
        backend = self.layers[layer]
        assert backend, f"layer {layer} uses the keys of another"
        return backend

    def shapes(self, pages: int) -> tuple[Shapes, ...]:
        """Returns shape and dtype of each array in each layer's cache with `pages` pages, all devices together.

        The entry is `()` for a layer that uses the keys and values of an earlier layer.
        """
        return tuple(backend.shapes(pages) if backend else () for backend in self.layers)


@dataclass(frozen=True, kw_only=True)
class AttentionTarget:
    """The attention of a layer, and the devices that compute it.

    Args:
        shape: the properties of the layer.
        platform: "cpu", "tpu" or "gpu", as jax names them.
        mesh: one axis, "tensor", over which the heads are split.
        native: names of the custom calls of `jaxchat.kernels.attention.cpu_native` by dtype; empty if unavailable.
    """

    shape: AttentionShape
    platform: str
    mesh: Mesh | AbstractMesh
    native: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class AttentionFactory:
    """A factory of one kind of attention backend, for `register_attention_backend`.

    Args:
        build: returns the backend for a supported target.
        platforms: platforms that the backend runs on; empty for all.
        kv_dtypes: values of `AttentionShape.kv_dtype` other than None that the backend supports.
        unsupported_reason: returns why the backend cannot serve a target on one of its platforms, or "" if it can.
        note: returns a phrase for the operator about the backend on a target.
    """

    build: Callable[[AttentionTarget], AttentionBackend]
    platforms: tuple[str, ...] = ()
    kv_dtypes: tuple[str, ...] = ()
    unsupported_reason: Callable[[AttentionTarget], str] = lambda target: ""
    note: Callable[[AttentionTarget], str] = lambda target: f"registered for a {target.platform.upper()}"

    def runs_on(self, platform: str) -> bool:
        """Returns whether the backend runs on a platform."""
        return not self.platforms or platform in self.platforms

    def refusal(self, target: AttentionTarget) -> str:
        """Returns why the backend cannot serve a target, as a phrase, or "" if it can."""
        if not self.runs_on(target.platform):
            return f"runs on {', '.join(self.platforms)} and not on {target.platform}"
        if reason := self.unsupported_reason(target):
            return reason
        kv_dtype = target.shape.kv_dtype
        return "" if kv_dtype in (None, *self.kv_dtypes) else f"the backend does not support kv_dtype {kv_dtype}"
