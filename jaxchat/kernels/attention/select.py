"""Selects the attention backend: once, at load, by platform, head dimension, KV heads and dtype."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from jax.sharding import AbstractMesh, Mesh

from jaxchat.config import AttentionName
from jaxchat.kernels.attention import gpu_triton, tpu_ragged
from jaxchat.kernels.attention.backend import AttentionBackend, AttentionShape
from jaxchat.kernels.attention.cpu_native import NativeAttention
from jaxchat.kernels.attention.xla import XlaAttention


@dataclass(frozen=True)
class Choice:
    """A backend and the reason for it, for the operator."""

    backend: AttentionBackend
    reason: str

    def __str__(self) -> str:
        return f"{self.backend.name} ({self.reason})"


def choose(
    setting: AttentionName,
    shape: AttentionShape,
    platform: str,
    mesh: Mesh | AbstractMesh,
    native: Mapping[str, str] = MappingProxyType({}),
) -> Choice:
    """Returns the fastest backend that can compute `shape` on a platform, or the XLA backend if `setting` asks for it.

    Args:
        setting: "auto" or "plain".
        shape: the model's attention.
        platform: "cpu", "tpu" or "gpu", as jax names them.
        mesh: one axis, "tensor", over which the heads are split.
        native: custom calls of `jaxchat.kernels.attention.cpu_native` by dtype; empty if they are unavailable.
    """
    xla = XlaAttention(shape)
    if setting == "plain":
        return Choice(xla, "as configured")
    if platform == "tpu":
        if reason := tpu_ragged.unsupported_reason(shape):
            return Choice(xla, f"slow on a TPU: {reason}")
        lanes = tpu_ragged.LANES
        padded = "" if shape.head_dim == lanes else f", heads padded from {shape.head_dim} to {lanes}"
        return Choice(tpu_ragged.RaggedAttention(shape, mesh), f"Pallas kernel on a TPU{padded}")
    if platform == "gpu":
        if reason := gpu_triton.unsupported_reason(shape):
            return Choice(xla, f"slow on a GPU: {reason}")
        return Choice(gpu_triton.TritonAttention(shape, mesh), "Pallas kernels on a GPU")
    if native:
        return Choice(NativeAttention(shape, native[shape.dtype]), "kernels in C++ on a CPU")
    return Choice(xla, f"the backend of a {platform.upper()}")
