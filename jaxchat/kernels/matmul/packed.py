"""Products with packed weights of every kind: panels for the C++ kernels, int8, groups, weight-only, joined.

Letters: T rows of activations, k inputs, N outputs, E weights in a stack.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jax.sharding import PartitionSpec

from jaxchat.kernels.matmul import grouped, int8, native, weight_only, weight_only_product
from jaxchat.kernels.matmul.grouped import GroupedWeight
from jaxchat.kernels.matmul.int8 import Int8
from jaxchat.kernels.matmul.native import PanelWeight
from jaxchat.kernels.matmul.weight_only import TiedTable, WeightOnly


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class JoinedWeight:
    """A weight `[k, outputs...]` whose parts are packed differently. Their outputs are concatenated on `axis`."""

    parts: tuple[PanelWeight | GroupedWeight | WeightOnly, ...]
    axis: int = field(metadata={"static": True})  # of the outputs

    @property
    def dtype(self) -> jnp.dtype:
        """The dtype of the model's other weights and of its activations."""
        return self.parts[0].dtype


PackedWeight = PanelWeight | Int8 | GroupedWeight | WeightOnly | TiedTable | JoinedWeight


def matmul(x: Array, w: PackedWeight, reduce_dtype: str = "float32") -> Array:
    """Multiplies `x[T, k]` by the weight, to f32 `[T, outputs...]`.

    Args:
        x: activations.
        w: the weight.
        reduce_dtype: the dtype to which each device rounds its partial sum, if the sum runs over devices.
    """
    if isinstance(w, JoinedWeight):
        return jnp.concatenate([matmul(x, part, reduce_dtype) for part in w.parts], axis=1 + w.axis)
    if isinstance(w, WeightOnly | TiedTable):
        return _weight_only(x, w.head if isinstance(w, TiedTable) else w, reduce_dtype)
    if isinstance(w, GroupedWeight):
        return grouped.matmul(x, w)
    return int8.matmul(x, w) if isinstance(w, Int8) else native.matmul(x, w)


def matmul_entry(x: Array, w: PackedWeight, index: Array, reduce_dtype: str = "float32") -> Array:
    """Multiplies `x[T, k]` by the weight at `index` (i32 scalar) of the stack `w`, to f32 `[T, outputs...]`.

    Reads only that weight. `reduce_dtype` is as for `matmul`.

    Raises:
        TypeError: the weight is a `TiedTable`, which is never a stack.
    """
    if isinstance(w, JoinedWeight):
        return jnp.concatenate([matmul_entry(x, part, index, reduce_dtype) for part in w.parts], axis=1 + w.axis)
    if isinstance(w, TiedTable):
        raise TypeError("a table is not a stack")
    if isinstance(w, WeightOnly):
        return _weight_only(x, weight_only.entry(w, index), reduce_dtype)
    if isinstance(w, GroupedWeight):
        return grouped.matmul(x, w, index)
    return int8.matmul_entry(x, w, index) if isinstance(w, Int8) else native.matmul_entry(x, w, index)


def _weight_only(x: Array, w: WeightOnly, reduce_dtype: str) -> Array:
    if len(x) <= w.fused_rows:
        from jaxchat.kernels.matmul import gpu_weight_only  # Pallas, which only a GPU needs

        return gpu_weight_only.matmul(x, w, reduce_dtype)
    return weight_only_product.matmul(x, w, reduce_dtype)


def partition(w: PackedWeight | Array, dense: PartitionSpec, axis: str) -> Any:
    """Returns the partition spec of a weight. For a `WeightOnly`, returns one with a spec in place of each array.

    Args:
        w: the weight.
        dense: the spec of a weight that is an array.
        axis: the mesh axis of the devices.
    """
    return w.partition(axis) if isinstance(w, WeightOnly) else dense


def take(w: PackedWeight, outputs: Array) -> Array:
    """Returns the weights of the outputs numbered `outputs[T]` (int), `[T, k]`, such as rows of an embedding table.

    The dtype is f32, except for a `PanelWeight`, which keeps its dtype.

    Raises:
        TypeError: the weight is a `JoinedWeight`, which a table never is.
    """
    if isinstance(w, JoinedWeight):
        raise TypeError("a table is packed as a whole")
    return w.take(outputs)
