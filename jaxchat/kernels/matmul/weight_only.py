"""Quantised weights in the layout of dense ones, for accelerators and meshes. Activations are not rounded.

XLA unpacks and scales the codes inside the product, so that memory reads only codes and scales. The order of axes
decides whether it does: the compiler for TPUs fuses them if groups and their inputs are two axes in front of the
outputs. Letters: k inputs in G groups of g; N outputs.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import partial
from math import prod
from typing import Any, Literal

import jax
import jax.numpy as jnp
from jax import Array
from jax.sharding import PartitionSpec

from jaxchat.kernels.matmul.native import by_rows

Split = Literal["none", "inputs", "outputs", "stack"]
"""The axis that devices divide among themselves: none, the inputs, the outputs, or the weights of a stack."""
Order = Literal["matrix", "table"]
"""Whether inputs stand in front of outputs, or outputs in front, so that rows of a table can be looked up."""


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class GroupFactors:
    """`jaxchat.quantised.Factors` with the axes of the codes. An entry of `outer` may cover several groups."""

    outer: Any  # f16 or f32
    inner: Any = None  # i8, one for each group


@dataclass(frozen=True)
class WeightLayout:
    """The arrangement of a weight that follows from its place in the model, whatever its stored form.

    `outputs` are the sizes of the axes of outputs. The first `lead` of them stand in front of the inputs, because an
    axis after them is split. With `stack`, every array has one more leading axis, the weights of a stack. The axis
    `split` is divided into `shards` equal parts.
    """

    outputs: tuple[int, ...]
    lead: int = 0
    stack: bool = False
    order: Order = "matrix"
    split: Split = "none"
    shards: int = 1


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class WeightOnly:
    """A weight `[k, outputs...]`, or a stack of them: `scale * (codes - zero) - minimum`.

    Arrays are those of JAX, or of NumPy before they are placed, or shapes or partition specs in their places. A matrix
    has codes `[lead..., G, g, N]` and factors `[lead..., G, N]`, a table codes `[N, k]` and factors `[N, G]`. A stack
    has one more leading axis. With an `order`, input j of the codes is input `order[j]` of the model.
    """

    codes: Any  # u4 for codes of 4 bits, f4 for numbers in E2M1, otherwise u8
    scale: GroupFactors
    zeros: Any  # u8, as the factors, or None: all are `zero`
    minimum: GroupFactors | None
    order: Any  # i32 [k], or None
    zero: int = field(metadata={"static": True})
    inputs: int = field(metadata={"static": True})  # k of the model, without padding to whole groups
    layout: WeightLayout = field(metadata={"static": True})
    dtype: jnp.dtype = field(metadata={"static": True})  # of what else the model computes with

    def take(self, outputs: Array) -> Array:
        """Returns the weights of the outputs numbered `outputs[T]` (int), f32 `[T, k]`. The weight is a table."""
        rows = jax.tree.map(lambda array: jnp.take(array, outputs, axis=0), replace(self, order=None))
        weights = _dequantised(rows).reshape(len(outputs), -1)[:, : self.inputs]
        return weights if self.order is None else jnp.empty_like(weights).at[:, self.order].set(weights)

    def partition(self, axis: str) -> WeightOnly:
        """Returns a partition spec in the place of each array, for devices on the mesh axis `axis`."""
        layout = self.layout
        front = ([axis if layout.split == "stack" else None] if layout.stack else []) + [None] * layout.lead
        outputs = axis if layout.split == "outputs" else None
        groups = axis if layout.split == "inputs" else None

        def factors(array: Any) -> PartitionSpec:
            if layout.order == "table":
                return PartitionSpec(outputs, None)
            return PartitionSpec(*front, groups if array.shape[-2] > 1 else None, outputs)

        if layout.order == "table":
            codes = PartitionSpec(outputs, None)
        elif self.codes.shape[-3] == 1:  # one group of all inputs, of which each device has some
            codes = PartitionSpec(*front, None, groups, outputs)
        else:
            codes = PartitionSpec(*front, groups, None, outputs)
        order = None if self.order is None else PartitionSpec(*front[: layout.stack])
        others = jax.tree.map(factors, replace(self, codes=None, order=None))
        return replace(others, codes=codes, order=order)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class TiedTable:
    """An embedding that also serves as head and whose rows have several groups: a table, and a matrix for products.

    In the layout of a table such a product would unpack all codes into memory first.
    """

    table: WeightOnly
    head: WeightOnly

    @property
    def dtype(self) -> jnp.dtype:
        """The dtype of what else the model computes with."""
        return self.table.dtype

    def take(self, outputs: Array) -> Array:
        """Returns the weights of the outputs numbered `outputs[T]` (int), f32 `[T, k]`."""
        return self.table.take(outputs)


def matmul(x: Array, w: WeightOnly | TiedTable, reduce_dtype: str = "float32") -> Array:
    """Multiplies `x[T, k]` by the weight, to f32 `[T, outputs...]`.

    Rounds x and the dequantised weights to the dtype of w, and sums in f32. Codes of rows with one scale are exact in
    every dtype, and their sums are scaled instead.

    Args:
        x: activations.
        w: one weight.
        reduce_dtype: the dtype to which each device rounds its partial sum, if the sum runs over devices.
    """
    if isinstance(w, TiedTable):
        w = w.head
    x = (x if w.order is None else x[:, w.order]).astype(w.dtype)
    x = jnp.pad(x, ((0, 0), (0, prod(_inputs(w)) - x.shape[1])))
    scale_after = _groups(w) == 1 and w.scale.inner is None and w.minimum is None and w.zeros is None
    weights = (_integers(w) if scale_after else _dequantised(w)).astype(w.dtype)
    table, lead = w.layout.order == "table", w.layout.lead
    axes = ((1,), (1,)) if table else ((1, 2), (lead, lead + 1))

    def multiply(x: Array, weights: Array) -> Array:
        exact = jax.lax.Precision.HIGHEST if w.dtype == jnp.float32 else None
        result = jnp.dtype(reduce_dtype)
        return jax.lax.dot_general(x, weights, (axes, ((), ())), precision=exact, preferred_element_type=result)

    if table:
        weights = weights.reshape(len(weights), -1)
    y: Array = jax.lax.platform_dependent(
        x.reshape(len(x), *_inputs(w)), weights, cpu=partial(by_rows, multiply), default=multiply
    )
    y = y.astype(jnp.float32)
    if scale_after:
        y *= w.scale.outer.astype(jnp.float32).reshape(y.shape[1:])
    return y.reshape(len(x), *_local_outputs(w.layout, y.shape[-1]))


def matmul_entry(x: Array, w: WeightOnly, index: Array, reduce_dtype: str = "float32") -> Array:
    """Applies `matmul` to `x` and the weight at `index` (i32 scalar) of a stack. Reads only that weight."""
    entry = jax.tree.map(lambda array: jax.lax.dynamic_index_in_dim(array, index, keepdims=False), w)
    return matmul(x, entry, reduce_dtype)


def _groups(w: WeightOnly) -> int:
    """Returns the number of groups of a row, in the part of one weight that a device has."""
    counts = w.scale.outer if w.scale.inner is None else w.scale.inner
    return counts.shape[-1 if w.layout.order == "table" else -2]


def _inputs(w: WeightOnly) -> tuple[int, ...]:
    """Returns the sizes of the axes of inputs, G and g, or k of a table."""
    lead = w.layout.lead
    return w.codes.shape[1:] if w.layout.order == "table" else w.codes.shape[lead : lead + 2]


def _local_outputs(layout: WeightLayout, count: int) -> tuple[int, ...]:
    """Returns the sizes of the axes of outputs on a device, which has `count` of those after the leading ones."""
    first, rest = layout.outputs[: layout.lead], layout.outputs[layout.lead + 1 :]
    return (*first, count // prod(rest), *rest)


def _integers(w: WeightOnly) -> Array:
    return w.codes.astype(jnp.float32) - w.zero


def _dequantised(w: WeightOnly) -> Array:
    """Returns one weight in f32: `[lead..., G, g, N]`, or `[N, G, g]` of a table."""
    table, groups = w.layout.order == "table", _groups(w)
    axis = -1 if table else -2

    def spread(array: Array) -> Array:
        """Adds the axis of a group's inputs."""
        return jnp.expand_dims(array, -1 if table else -2)

    def values(factors: GroupFactors) -> Array:
        outer = jnp.repeat(factors.outer.astype(jnp.float32), groups // factors.outer.shape[axis], axis=axis)
        return spread(outer if factors.inner is None else outer * factors.inner.astype(jnp.float32))

    codes = w.codes.reshape(len(w.codes), groups, -1) if table else w.codes
    weights = codes.astype(jnp.float32)
    weights -= w.zero if w.zeros is None else spread(w.zeros.astype(jnp.float32))
    weights *= values(w.scale)
    return weights if w.minimum is None else weights - values(w.minimum)
