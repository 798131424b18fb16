"""Selects the attention backend: once, at load, by platform, head dimension, KV heads and dtype."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from jax.sharding import AbstractMesh, Mesh

from jaxchat.kernels.attention.backend import AttentionFactory, AttentionShape, AttentionTarget, ModelAttention
from jaxchat.registry import Registry

_HERE = "jaxchat.kernels.attention"
ATTENTION_BACKENDS: Registry[AttentionFactory] = Registry(
    "attention backend",
    "jaxchat.attention_backends",
    {
        "xla": f"{_HERE}.xla:XLA",
        "native": f"{_HERE}.cpu_native:NATIVE",
        "tokamax": f"{_HERE}.tpu_tokamax:TOKAMAX",
        "ragged": f"{_HERE}.tpu_ragged:RAGGED",
        "triton": f"{_HERE}.gpu_triton:TRITON",
    },
)


def register_attention_backend(name: str, factory: AttentionFactory, *, replace: bool = False) -> None:
    """Adds a backend, which `EngineConfig.attention` may name.

    On its platforms, "auto" prefers it to backends that were registered earlier.

    Raises:
        RegistryError: the name is taken, and `replace` is false.
    """
    ATTENTION_BACKENDS.register(name, factory, replace=replace)


@dataclass(frozen=True)
class Selection:
    """The attention backends of a model's layers, and the reason for their selection, which the operator sees."""

    backend: ModelAttention
    reason: str

    def __str__(self) -> str:
        return f"{self.backend.first.name} ({self.reason})"


def find_backend(setting: str) -> AttentionFactory | None:
    """Returns the factory named `setting`, or None for "auto". Raises RegistryError if the name is not registered."""
    return None if setting == "auto" else ATTENTION_BACKENDS.get(setting)


def choose(
    setting: str,
    shapes: Sequence[AttentionShape | None],
    platform: str,
    mesh: Mesh | AbstractMesh,
    native: Mapping[str, str] = MappingProxyType({}),
) -> Selection:
    """Returns the backends of a model's layers, all of the kind named `setting`.

    For "auto", several kinds may support every layer on `platform`. The kind that was registered last is chosen.

    Args:
        setting: "auto" or a registered name.
        shapes: the attention of each layer; None for a layer that uses the keys of another.
        platform: "cpu", "tpu" or "gpu", as jax names them.
        mesh: one axis, "tensor", over which the heads are split.
        native: custom calls of `jaxchat.kernels.attention.cpu_native` by dtype; empty if they are unavailable.

    Raises:
        RegistryError: the name is not registered.
        ValueError: the backend named `setting` does not support a layer. For "auto", no backend supports all layers.
    """
    targets = {
        shape: AttentionTarget(shape=shape, platform=platform, mesh=mesh, native=native)
        for shape in dict.fromkeys(shapes)
        if shape
    }
    factory, reason = _select(setting, tuple(targets.values()))
    built = {shape: factory.build(target) for shape, target in targets.items()}
    return Selection(ModelAttention(tuple(built[shape] if shape else None for shape in shapes)), reason)


def _select(setting: str, targets: Sequence[AttentionTarget]) -> tuple[AttentionFactory, str]:
    """Returns a factory that supports all targets, and the reason for the choice. All targets have one platform.

    Raises:
        RegistryError: the name is not registered.
        ValueError: the named factory does not support all targets. For "auto", no factory supports all targets.
    """
    first = targets[0]
    if named := find_backend(setting):
        if refusal := next(filter(None, map(named.refusal, targets)), ""):
            raise ValueError(f"attention {setting}: {refusal}")
        return named, "as configured"
    unsupported: list[str] = []
    for _, factory in ATTENTION_BACKENDS.items():
        if not factory.runs_on(first.platform):
            continue
        reason = next(filter(None, map(factory.refusal, targets)), "")
        if not reason:
            note = factory.note(first)
            return factory, f"{note}: {'; '.join(unsupported)}" if unsupported else note
        unsupported.append(reason)
    raise ValueError(f"no attention backend serves this model on {first.platform}: {'; '.join(unsupported)}")
