"""Where arrays live: logical axes of parameters and pages mapped to the devices of a mesh."""

from __future__ import annotations

from dataclasses import dataclass

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from jaxchat.config import MeshConfig
from jaxchat.models.config import ModelConfig
from jaxchat.models.naming import axes


@dataclass(frozen=True)
class Placement:
    """Shardings over one mesh.

    Tensor parallel: attention is split by groups of KV heads (with their query heads), the feed-forward layer by its
    inner width, the embedding by vocabulary. Each layer then needs two all-reduces and nothing else moves.
    """

    mesh: Mesh
    rules: tuple[tuple[str, str], ...] = (("kv_heads", "tensor"), ("ffn", "tensor"), ("vocab", "tensor"))

    @staticmethod
    def create(config: MeshConfig, model: ModelConfig) -> Placement:
        """A mesh over the first devices. Raises ValueError when there are too few or the model does not divide."""
        devices = jax.devices()
        if len(devices) < config.tensor:
            raise ValueError(f"tensor_parallel is {config.tensor}, but there are only {len(devices)} devices")
        for name, size in (("KV heads", model.kv_heads), ("feed-forward width", model.ffn_width)):
            if size % config.tensor:
                raise ValueError(f"tensor_parallel {config.tensor} does not divide the model's {size} {name}")
        grid = np.array(devices[: config.tensor])
        return Placement(Mesh(grid, ("tensor",), axis_types=(AxisType.Auto,)))

    @property
    def replicated(self) -> NamedSharding:
        return NamedSharding(self.mesh, PartitionSpec())

    @property
    def pages(self) -> NamedSharding:
        """Pages `[N, page, K, d]`, split by KV head."""
        return NamedSharding(self.mesh, PartitionSpec(None, None, "tensor"))

    def parameter(self, path: tuple[str, ...], shape: tuple[int, ...]) -> NamedSharding:
        """The sharding of one parameter; an axis that the mesh does not divide stays whole."""
        rules, devices = dict(self.rules), self.mesh.size
        names = [rules.get(axis) if axis else None for axis in axes(path)]
        fitting = [name if size % devices == 0 else None for name, size in zip(names, shape, strict=True)]
        return NamedSharding(self.mesh, PartitionSpec(*fitting))

    def place(self, path: tuple[str, ...], array: np.ndarray) -> jax.Array:
        """Puts a loaded parameter on its devices, each device receiving only its part."""
        return jax.device_put(array, self.parameter(path, array.shape))
