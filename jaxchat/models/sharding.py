"""How a model is split over devices, and how partial sums are added across devices."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import jax
from jax import Array
from jax.sharding import AbstractMesh, Mesh, PartitionSpec


@dataclass(frozen=True)
class TensorParallel:
    """The settings of a model whose weights are split over devices.

    `mesh` holds the devices. If it is None or has one device, weights are not split.

    `reduce_dtype` is the dtype in which partial sums are sent to other devices. Each partial sum is accumulated in f32
    before it is rounded to that dtype. The result is added to the residual stream in f32.

    With `experts`, each device has whole experts. With `long_blocks`, blocks of experts grow with the number of tokens,
    see `moe.rows_of`.
    """

    mesh: Mesh | AbstractMesh | None = None
    reduce_dtype: str = "float32"
    experts: bool = False
    long_blocks: bool = False

    @staticmethod
    def over(mesh: Mesh | AbstractMesh, dtype: str, platform: str, *, experts: bool = False) -> TensorParallel:
        """Returns the settings for weights that are split over `mesh`.

        On CPUs, `reduce_dtype` is always f32, because bf16 is slow there and sending fewer bytes saves no time. On
        CPUs, `long_blocks` is False, because the bits of a CPU's products depend on the number of rows. With longer
        blocks, equal prompts would get different bits in prefill steps of different sizes.

        Args:
            mesh: the devices.
            dtype: dtype of the weights, "float32" or "bfloat16".
            platform: JAX's name of the platform, such as "cpu".
            experts: whether each device gets whole experts, if there are several devices.
        """
        parts = dtype if mesh.size > 1 and platform != "cpu" else "float32"
        return TensorParallel(mesh, parts, experts and mesh.size > 1, platform != "cpu")

    @property
    def devices(self) -> int:
        """The number of devices; 1 without a mesh."""
        return self.mesh.size if self.mesh else 1

    def sum_over_devices(self, local: Callable[..., Array], splits: tuple[PartitionSpec, ...]) -> Callable[..., Array]:
        """Returns a function that applies `local` on each device and returns the sum over devices.

        The partial sums are rounded to `reduce_dtype` and added in that dtype. All devices get the sum, in f32. If
        weights are not split, returns `local` itself.

        Args:
            local: computes one device's partial sum, f32, from its part of the arguments.
            splits: the partitioning of each argument.
        """
        if self.mesh is None or self.mesh.size == 1:
            return local
        (axis,) = self.mesh.axis_names

        def summed(*args: Array) -> Array:
            return jax.lax.psum(local(*args).astype(self.reduce_dtype), axis).astype("float32")

        replicated = PartitionSpec()
        return jax.shard_map(summed, mesh=self.mesh, in_specs=splits, out_specs=replicated, check_vma=False)
