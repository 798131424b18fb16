"""The placement of arrays: logical axes of parameters and pages mapped to the devices of a mesh."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import jax
import numpy as np
from jax.sharding import AbstractMesh, AxisType, Mesh, NamedSharding, PartitionSpec

from jaxchat.config import MeshConfig
from jaxchat.kernels.attention.backend import AttentionBackend
from jaxchat.models.config import ModelConfig
from jaxchat.models.param_specs import ParamSpec
from jaxchat.parallel.distributed import put

AXIS = "tensor"
RULES = (("kv_heads", AXIS), ("ffn", AXIS), ("vocab", AXIS))


def check_divides(config: MeshConfig, model: ModelConfig) -> None:
    """Checks that the layers of the model can be split over the devices of `config`.

    Raises:
        ValueError: `config.tensor` does not divide a size that is split, or `config.experts` is set for a model without
            experts.
    """
    if config.experts and not model.experts:
        raise ValueError("expert_parallel needs a model with experts")
    sizes = [("KV heads", layer.num_kv_heads) for layer in model.layers]
    sizes += [("feed-forward width", layer.mlp_dim) for layer in model.layers if _has_dense(layer)]
    if model.experts:
        sizes.append(("experts", model.experts.count) if config.experts else ("expert width", model.experts.mlp_dim))
        if model.experts.shared_dim:
            sizes.append(("shared expert width", model.experts.shared_dim))
    for name, size in dict.fromkeys(sizes):
        if size % config.tensor:
            raise ValueError(f"tensor_parallel {config.tensor} does not divide the model's {size} {name}")


def _has_dense(layer: ModelConfig) -> bool:
    """Returns whether every token passes through a dense feed-forward layer, in place of experts or beside them."""
    return not (layer.kind.sparse and layer.experts) or layer.experts.beside_dense


@dataclass(frozen=True)
class Placement:
    """The shardings of one copy of the model over a mesh.

    Tensor parallel: attention is split by groups of KV heads (with their query heads), the feed-forward layer by its
    inner dimension, the embedding by vocabulary. Each layer then needs two all-reduces and no other communication.
    Experts are split by their inner dimension too, or distributed whole (expert parallel).
    """

    mesh: Mesh | AbstractMesh  # an abstract mesh suffices for shapes
    rules: tuple[tuple[str, str], ...]

    @staticmethod
    def create(config: MeshConfig, model: ModelConfig, devices: Sequence[jax.Device] = ()) -> Placement:
        """Returns a placement over the first `config.tensor` devices. `devices` are by default those of all processes.

        Raises:
            ValueError: there are too few devices, or the model cannot be split (see `check_divides`). Also raised if
                there are several processes and some of their devices would not be used.
        """
        return Placement.copies(replace(config, data=1), model, devices)[0]

    @staticmethod
    def copies(config: MeshConfig, model: ModelConfig, devices: Sequence[jax.Device] = ()) -> tuple[Placement, ...]:
        """Returns one placement for each of `config.data` copies of the model.

        Each copy takes the next `config.tensor` devices. `devices` are by default those of all processes.

        Raises:
            ValueError: there are too few devices, or the model cannot be split (see `check_divides`). With several
                processes, also raised if `config.data` is more than 1 or some devices would not be used.
        """
        devices = devices or jax.devices()
        _check_devices(config, len(devices), jax.process_count())
        check_divides(config, model)
        grid = np.array(devices[: config.data * config.tensor]).reshape(config.data, config.tensor)
        return tuple(Placement(Mesh(row, (AXIS,), axis_types=(AxisType.Auto,)), _rules(config)) for row in grid)

    @staticmethod
    def imagined(config: MeshConfig, model: ModelConfig) -> Placement:
        """Returns a placement over imagined devices, for planning. Raises ValueError if the model cannot be split."""
        check_divides(config, model)
        return Placement(AbstractMesh((config.tensor,), (AXIS,), axis_types=(AxisType.Auto,)), _rules(config))

    @property
    def whole_experts(self) -> bool:
        """Whether each device has whole experts in place of a part of every expert."""
        return ("experts", AXIS) in self.rules

    @property
    def replicated(self) -> NamedSharding:
        return NamedSharding(self.mesh, PartitionSpec())

    def pages(self, attention: AttentionBackend) -> NamedSharding:
        """Returns the sharding of KV pages, which are split by KV head."""
        return NamedSharding(self.mesh, PartitionSpec(*[None] * attention.head_axis, AXIS))

    def parameter(self, spec: ParamSpec) -> NamedSharding:
        """Returns the sharding of one parameter. An axis that the mesh does not divide is not split."""
        return self.sharding(spec.axes, spec.shape)

    def sharding(self, axes: tuple[str | None, ...], shape: tuple[int, ...]) -> NamedSharding:
        """Returns the sharding of an array with the logical axes `axes` and the sizes `shape`.

        An axis that the mesh does not divide is not split.
        """
        rules, devices = dict(self.rules), self.mesh.size
        names = [rules.get(axis) if axis else None for axis in axes]
        fitting = [name if size % devices == 0 else None for name, size in zip(names, shape, strict=True)]
        return NamedSharding(self.mesh, PartitionSpec(*fitting))

    def copy(self, params: Any) -> Any:
        """Copies parameters from a placement with the same number of devices to the devices of this placement.

        Arrays that are on these devices already are not copied.
        """

        def one(leaf: jax.Array) -> jax.Array:
            spec = leaf.sharding.spec if isinstance(leaf.sharding, NamedSharding) else PartitionSpec()
            return jax.device_put(leaf, NamedSharding(self.mesh, spec))

        return jax.tree.map(one, params)

    def place(self, spec: ParamSpec, array: np.ndarray) -> jax.Array:
        """Puts a loaded parameter on its devices. Each device receives only its part.

        The result has the same shape and dtype.

        Args:
            spec: the parameter's spec.
            array: the parameter, with the shape of `spec`.
        """
        placed: jax.Array = put(array, self.parameter(spec))
        return placed


def _check_devices(config: MeshConfig, available: int, processes: int) -> None:
    wanted, split = config.data * config.tensor, f"tensor_parallel {config.tensor}"
    if config.data > 1:
        split = f"data_parallel {config.data} times {split}"
        if processes > 1:
            raise ValueError(
                f"data_parallel over {processes} processes must be 1, got {config.data}: run a multihost group for each"
            )
    if available < wanted:
        raise ValueError(f"{split} needs {wanted} devices, but there are only {available}")
    if processes > 1 and available > wanted:
        raise ValueError(
            f"tensor_parallel must be {available}, all devices of {processes} processes, got {config.tensor}"
        )


def _rules(config: MeshConfig) -> tuple[tuple[str, str], ...]:
    """Returns the logical axes that are split, each with its mesh axis."""
    return (*RULES, ("experts" if config.experts else "expert_ffn", AXIS))
