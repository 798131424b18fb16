"""Products with packed weights of every kind: panels for the C++ kernels, int8, groups, and parts of several kinds."""

from __future__ import annotations

from dataclasses import dataclass, field

import jax
import jax.numpy as jnp
from jax import Array

from jaxchat.kernels.matmul import grouped, int8, native
from jaxchat.kernels.matmul.grouped import GroupedWeight
from jaxchat.kernels.matmul.int8 import Int8
from jaxchat.kernels.matmul.native import PanelWeight


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class JoinedWeight:
    """A weight `[k, outputs...]` whose parts are packed differently. Their outputs are concatenated on `axis`."""

    parts: tuple[PanelWeight | GroupedWeight, ...]
    axis: int = field(metadata={"static": True})  # of the outputs

    @property
    def dtype(self) -> jnp.dtype:
        """The dtype of the model's other weights and of its activations."""
        return self.parts[0].dtype


PackedWeight = PanelWeight | Int8 | GroupedWeight | JoinedWeight


def matmul(x: Array, w: PackedWeight) -> Array:
    """Multiplies `x[T, k]` by the weight, to f32 `[T, outputs...]`."""
    if isinstance(w, JoinedWeight):
        return jnp.concatenate([matmul(x, part) for part in w.parts], axis=1 + w.axis)
    if isinstance(w, GroupedWeight):
        return grouped.matmul(x, w)
    return int8.matmul(x, w) if isinstance(w, Int8) else native.matmul(x, w)


def matmul_entry(x: Array, w: PackedWeight, index: Array) -> Array:
    """Multiplies `x[T, k]` by the weight at `index` (i32 scalar) of the stack `w`, to f32 `[T, outputs...]`.

    Reads only that weight.
    """
    if isinstance(w, JoinedWeight):
        return jnp.concatenate([matmul_entry(x, part, index) for part in w.parts], axis=1 + w.axis)
    if isinstance(w, GroupedWeight):
        return grouped.matmul(x, w, index)
    return int8.matmul_entry(x, w, index) if isinstance(w, Int8) else native.matmul_entry(x, w, index)


def take(w: PackedWeight, outputs: Array) -> Array:
    """Returns the weights of the outputs numbered `outputs[T]` (int), f32 `[T, k]`, such as rows of an embedding table.

    Raises:
        TypeError: the weight is a `JoinedWeight`, which a table never is.
    """
    if isinstance(w, JoinedWeight):
        raise TypeError("a table is packed as a whole")
    return w.take(outputs)
