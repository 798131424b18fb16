"""How a model that is split over devices adds up the parts of a sum that each of them has."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import jax
from jax import Array
from jax.sharding import AbstractMesh, Mesh, PartitionSpec


@dataclass(frozen=True)
class TensorParallel:
    """The devices that weights are split over, none or one for a model that is whole.

    `parts` is the dtype in which parts of a sum travel between devices. Each part is accumulated in f32 before it is
    rounded to that, and the sum is added to the residual stream in f32. With `experts`, devices have whole ones. With
    `long_blocks`, experts compute more rows at a time the more tokens there are, see `experts.rows_of`.
    """

    mesh: Mesh | AbstractMesh | None = None
    reduce_dtype: str = "float32"
    experts: bool = False
    long_blocks: bool = False

    @staticmethod
    def over(mesh: Mesh | AbstractMesh, dtype: str, platform: str, *, experts: bool = False) -> TensorParallel:
        """For weights of `dtype`, f32 or bf16.

        A CPU has no fast bf16, nothing to gain from fewer bytes, and its products' bits depend on how many rows there
        are, which chunks of prompts may not show.
        """
        parts = dtype if mesh.size > 1 and platform != "cpu" else "float32"
        return TensorParallel(mesh, parts, experts and mesh.size > 1, platform != "cpu")

    @property
    def devices(self) -> int:
        """How many."""
        return self.mesh.size if self.mesh else 1

    def sum_over_devices(self, local: Callable[..., Array], splits: tuple[PartitionSpec, ...]) -> Callable[..., Array]:
        """`local` on each device's part of the arguments, split as `splits` say, and the sum of its f32 results."""
        if self.mesh is None or self.mesh.size == 1:
            return local
        (axis,) = self.mesh.axis_names

        def summed(*args: Array) -> Array:
            return jax.lax.psum(local(*args).astype(self.reduce_dtype), axis).astype("float32")

        replicated = PartitionSpec()
        return jax.shard_map(summed, mesh=self.mesh, in_specs=splits, out_specs=replicated, check_vma=False)
