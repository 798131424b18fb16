"""Packs quantised and rounded weights in the layout of dense weights, on the devices of a placement.

Letters: k inputs, N outputs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from math import prod
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding

from jaxchat.arithmetic import cdiv
from jaxchat.config import Quantize
from jaxchat.kernels.matmul.rounding import round_outputs, round_rows
from jaxchat.kernels.matmul.weight_only import Split, TiedTable, WeightLayout, WeightOnly
from jaxchat.kernels.matmul.weight_only_build import from_rows, shapes_of_rows, splits_groups
from jaxchat.models.param_specs import ParamSpec
from jaxchat.parallel.distributed import put
from jaxchat.parallel.mesh import AXIS, Placement
from jaxchat.quantised import BLOCK, QuantisedRows, imagined_rows
from jaxchat.runtime.stored_packing import RowParts, outputs_of


@dataclass(frozen=True)
class WeightOnlyRows:
    """The layout of quantised rows on accelerators and meshes, which `jaxchat.kernels.matmul.weight_only` describes."""

    placement: Placement
    dtype: str  # of activations, and of weights that are not quantised
    fused_rows: int = 0  # of each `WeightOnly` that the kernel for GPUs can multiply
    used: set[int] = field(default_factory=set, compare=False)  # `fused_rows` of the weights so far

    def with_kernel(self, weight: WeightOnly) -> WeightOnly:
        """Returns the weight with its `fused_rows`."""
        if not self.fused_rows:
            return weight
        from jaxchat.kernels.matmul.gpu_weight_only import fits  # Pallas, which only a GPU needs

        rows = self.fused_rows if fits(weight) else 0
        self.used.add(rows)
        return replace(weight, fused_rows=rows)

    def unsupported_reason(self, spec: ParamSpec, rows: QuantisedRows) -> str | None:
        """Returns why rows of this form cannot be packed as a part of a parameter, or None if they can."""
        if splits_groups(rows, weight_layout(spec, self.placement)):
            return f"{self.placement.mesh.size} devices would divide their groups"
        return None

    def weight(self, spec: ParamSpec, outputs: tuple[int, ...], stack: Sequence[RowParts]) -> WeightOnly | TiedTable:
        """Packs one weight, or a stack, and places it on its devices. Arguments are those of `RowsPacking.weight`."""
        return self.placed(spec, outputs, [rows.joined() for rows in stack])

    def plain(self, spec: ParamSpec, outputs: tuple[int, ...], rows: np.ndarray) -> None:
        """Returns None: a parameter is widened if one of its parts is not quantised."""

    def placed(
        self, spec: ParamSpec, outputs: tuple[int, ...], stack: Sequence[QuantisedRows], inputs: int | None = None
    ) -> WeightOnly | TiedTable:
        """Packs the weights of `stack` and places them on their devices.

        Args:
            spec: the parameter.
            outputs: shape of the output axes of these rows.
            stack: the rows `[N, k]` of each weight, all in one form.
            inputs: number of inputs in the model; less than k if the rows are padded to whole groups. None: k.
        """
        layout, dtype = self._layout(spec, outputs, stack[0]), jnp.dtype(self.dtype)
        return _tied(spec, stack[0], layout, lambda each: self._put(from_rows(stack, each, dtype, inputs)))

    def _layout(self, spec: ParamSpec, outputs: tuple[int, ...], rows: QuantisedRows) -> WeightLayout:
        layout = replace(weight_layout(spec, self.placement), outputs=outputs)
        if layout.split != "outputs" and rows.group < rows.shape[1]:
            return replace(layout, lead=0)  # TPUs rearrange factors with leading axes
        return layout

    def _put(self, weight: WeightOnly) -> WeightOnly:
        mesh = self.placement.mesh
        placed: WeightOnly = jax.tree.map(
            lambda array, spec: put(array, NamedSharding(mesh, spec)), weight, weight.partition(AXIS)
        )
        return self.with_kernel(placed)


@dataclass(frozen=True)
class WeightOnlyShapes(WeightOnlyRows):
    """The layout of `WeightOnlyRows` for planning, with shapes and shardings in place of arrays. Reads no values."""

    def weight(self, spec: ParamSpec, outputs: tuple[int, ...], stack: Sequence[RowParts]) -> WeightOnly | TiedTable:
        """Returns the shapes of one weight, or of a stack."""
        rows, dtype = [weight.parts[0] for weight in stack], jnp.dtype(self.dtype)
        layout = self._layout(spec, outputs, rows[0])
        return _tied(spec, rows[0], layout, lambda each: self._sharded(shapes_of_rows(rows, each, dtype)))

    def _sharded(self, weight: WeightOnly) -> WeightOnly:
        def sharded(leaf: jax.ShapeDtypeStruct, spec: Any) -> jax.ShapeDtypeStruct:
            return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=NamedSharding(self.placement.mesh, spec))

        result: WeightOnly = jax.tree.map(sharded, weight, weight.partition(AXIS))
        return self.with_kernel(result)


@dataclass(frozen=True)
class WeightOnlyPacking:
    """A rounding of weights to codes, for `--quantize` on accelerators and meshes.

    int8 has one scale for each output, int4 one for each group of 32 inputs. With int4, a weight is rounded to int8 if
    its outputs are the vocabulary, or if devices would divide its groups.
    """

    layout: WeightOnlyRows
    quantize: Quantize

    def rounded(self, spec: ParamSpec, array: np.ndarray) -> WeightOnly | TiedTable:
        """Rounds a parameter, f32 or bf16 in host memory, and places it on its devices."""
        matrices = (np.asarray(matrix, np.float32) for matrix in _matrices(spec, array))  # one at a time
        rows = [round_rows(matrix, 4) if self._in_groups(spec) else round_outputs(matrix) for matrix in matrices]
        return self.layout.placed(spec, outputs_of(spec), rows, _inputs(spec))

    def imagined(self, spec: ParamSpec) -> QuantisedRows:
        """Returns rows of zeros for planning, in the form that `rounded` gives to each matrix of a parameter."""
        inputs = _inputs(spec)
        shape = prod(outputs_of(spec)), inputs
        if self._in_groups(spec):
            return imagined_rows((shape[0], BLOCK * cdiv(inputs, BLOCK)), 4, BLOCK)
        return imagined_rows(shape, 8, inputs, scale="float32")

    def _in_groups(self, spec: ParamSpec) -> bool:
        layout = weight_layout(spec, self.layout.placement)
        whole = layout.split != "inputs" or _inputs(spec) % (BLOCK * layout.shards) == 0
        return self.quantize == "int4" and "vocab" not in spec.axes and whole


def weight_layout(spec: ParamSpec, placement: Placement) -> WeightLayout:
    """Returns the layout of a parameter, divided over devices as the dense parameter is."""
    names = placement.parameter(spec).spec
    split_axes = {axis for axis, name in enumerate(names) if name and placement.mesh.size > 1}
    table, outputs = spec.axes[0] == "vocab", outputs_of(spec)
    split: Split = "none"
    if split_axes:
        (axis,) = split_axes
        split = "stack" if spec.per_expert and axis == 0 else "inputs" if axis in spec.contracted else "outputs"
    named = spec.axes[len(spec.axes) - len(outputs) :]
    lead = next((index for index, name in enumerate(named) if name), 0)
    return WeightLayout(
        outputs, 0 if table else lead, spec.per_expert, "table" if table else "matrix", split, placement.mesh.size
    )


def _tied(spec: ParamSpec, rows: QuantisedRows, layout: WeightLayout, make: Any) -> WeightOnly | TiedTable:
    """Returns the result of `make(layout)`, or a `TiedTable` of two such results: one for look-ups, one for products.

    A `TiedTable` is needed for a table that is also the head, if its codes have 4 bits or its rows several groups.
    """
    weight: WeightOnly = make(layout)
    as_is = rows.group == rows.shape[1] and rows.bits > 4
    if layout.order == "matrix" or not spec.contracted or as_is:
        return weight
    return TiedTable(weight, make(replace(layout, order="matrix")))


def _matrices(spec: ParamSpec, array: np.ndarray) -> Iterator[np.ndarray]:
    """Yields the matrices `[N, k]` of a parameter: one, or one for each expert."""
    if spec.axes[0] == "vocab":
        yield array
        return
    for entry in array if spec.per_expert else [array]:
        yield entry.reshape(_inputs(spec), -1).T


def _inputs(spec: ParamSpec) -> int:
    return prod(spec.shape[axis] for axis in spec.contracted)
