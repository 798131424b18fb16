"""Selects the attention backend: once, at load, by platform, head dimension, KV heads and dtype."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from jax.sharding import AbstractMesh, Mesh

from jaxchat.kernels.attention.backend import AttentionBackend, AttentionFactory, AttentionShape, AttentionTarget
from jaxchat.registry import Registry

_HERE = "jaxchat.kernels.attention"
ATTENTION_BACKENDS: Registry[AttentionFactory] = Registry(
    "attention backend",
    "jaxchat.attention_backends",
    {
        "xla": f"{_HERE}.xla:XLA",
        "native": f"{_HERE}.cpu_native:NATIVE",
        "ragged": f"{_HERE}.tpu_ragged:RAGGED",
        "triton": f"{_HERE}.gpu_triton:TRITON",
    },
)


def register_attention_backend(name: str, factory: AttentionFactory, *, replace: bool = False) -> None:
    """Adds a backend, which `EngineConfig.attention` may name. On its platforms, "auto" prefers it to earlier ones.

    Raises:
        RegistryError: the name is taken, and `replace` is false.
    """
    ATTENTION_BACKENDS.register(name, factory, replace=replace)


@dataclass(frozen=True)
class Selection:
    """The selected attention backend and the reason, as shown to the operator."""

    backend: AttentionBackend
    reason: str

    def __str__(self) -> str:
        return f"{self.backend.name} ({self.reason})"


def find_backend(setting: str) -> AttentionFactory | None:
    """Returns the factory named `setting`, None for "auto". Raises RegistryError if the name is not registered."""
    return None if setting == "auto" else ATTENTION_BACKENDS.get(setting)


def choose(
    setting: str,
    shape: AttentionShape,
    platform: str,
    mesh: Mesh | AbstractMesh,
    native: Mapping[str, str] = MappingProxyType({}),
) -> Selection:
    """Returns the backend named `setting`; for "auto", the latest registered one that supports the target.

    Args:
        setting: "auto" or a registered name.
        shape: the model's attention.
        platform: "cpu", "tpu" or "gpu", as jax names them.
        mesh: one axis, "tensor", over which the heads are split.
        native: custom calls of `jaxchat.kernels.attention.cpu_native` by dtype; empty if they are unavailable.

    Raises:
        RegistryError: the name is not registered.
        ValueError: the backend named `setting` does not support the target; for "auto", no backend does.
    """
    target = AttentionTarget(shape=shape, platform=platform, mesh=mesh, native=native)
    if named := find_backend(setting):
        if refusal := named.refusal(target):
            raise ValueError(f"attention {setting}: {refusal}")
        return Selection(named.build(target), "as configured")
    unsupported: list[str] = []
    for _, factory in ATTENTION_BACKENDS.items():
        if not factory.runs_on(platform):
            continue
        reason = factory.unsupported_reason(target)
        if not reason:
            note = factory.note(target)
            return Selection(factory.build(target), f"{note}: {'; '.join(unsupported)}" if unsupported else note)
        unsupported.append(reason)
    raise ValueError(f"no attention backend serves this model on {platform}: {'; '.join(unsupported)}")
