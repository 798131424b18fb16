"""Arranges quantised rows as `WeightOnly`: in NumPy arrays, or as shapes alone for planning."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxchat.kernels.matmul.weight_only import GroupFactors, WeightLayout, WeightOnly
from jaxchat.quantised import Factors, QuantisedRows


def from_rows(
    stack: Sequence[QuantisedRows], layout: WeightLayout, dtype: jnp.dtype, inputs: int | None = None
) -> WeightOnly:
    """Returns the weights of `stack`, all of one form, in NumPy arrays. There is one unless `layout.stack`.

    Args:
        stack: each weight `[N, k]`. Their orders of inputs may differ.
        layout: the arrangement of the weight.
        dtype: dtype of what else the model computes with.
        inputs: k of the model, if the rows are padded with zeros to whole groups.
    """
    first = stack[0]

    def stacked(arrays: Sequence[np.ndarray]) -> np.ndarray:
        arranged = [_arranged(array, layout) for array in arrays]
        return np.stack(arranged) if layout.stack else arranged[0]

    def factors(parts: Sequence[Factors]) -> GroupFactors:
        inner = [part.inner for part in parts if part.inner is not None]
        repeats = _outer_size(parts[0], first, layout) // parts[0].outer.shape[1]
        outer = [np.repeat(part.outer, repeats, axis=1) for part in parts]
        return GroupFactors(stacked(outer), stacked(inner) if inner else None)

    codes = stacked([_stored_codes(rows) for rows in stack])
    if layout.order == "matrix":
        codes = codes.reshape(*codes.shape[:-2], -1, first.group, codes.shape[-1])
    zeros = [rows.zero for rows in stack if isinstance(rows.zero, np.ndarray)]
    minima = [rows.minimum for rows in stack if rows.minimum is not None]
    return WeightOnly(
        codes,
        factors([_scale(rows) for rows in stack]),
        stacked(zeros) if zeros else None,
        factors(minima) if minima else None,
        _orders(stack, layout),
        _zero(first),
        inputs or first.shape[1],
        layout,
        jnp.dtype(dtype),
    )


def shapes_of_rows(stack: Sequence[QuantisedRows], layout: WeightLayout, dtype: jnp.dtype) -> WeightOnly:
    """Returns what `from_rows` returns, with shapes and dtypes in place of arrays. Reads no number.

    The rows of `stack` may be fewer than the outputs of `layout`: only their form counts.
    """
    first, count = stack[0], prod(layout.outputs)
    front = ((len(stack),) if layout.stack else ()) + layout.outputs[: layout.lead]
    rest = count // prod(layout.outputs[: layout.lead])

    def shape(dtype: Any, *inputs: int) -> jax.ShapeDtypeStruct:
        if layout.order == "table":
            return jax.ShapeDtypeStruct((count, prod(inputs)), dtype)
        return jax.ShapeDtypeStruct((*front, *inputs, rest), dtype)

    def factors(part: Factors) -> GroupFactors:
        inner = None if part.inner is None else shape(np.int8, part.inner.shape[1])
        return GroupFactors(shape(part.outer.dtype, _outer_size(part, first, layout)), inner)

    groups = first.shape[1] // first.group
    ordered = any(rows.order is not None for rows in stack)
    return WeightOnly(
        shape(_code_dtype(first), groups, first.group),
        factors(first.scale),
        None if isinstance(first.zero, int) else shape(np.uint8, groups),
        None if first.minimum is None else factors(first.minimum),
        jax.ShapeDtypeStruct((*front[: layout.stack], first.shape[1]), np.int32) if ordered else None,
        _zero(first),
        first.shape[1],
        layout,
        jnp.dtype(dtype),
    )


def splits_groups(rows: QuantisedRows, layout: WeightLayout) -> bool:
    """Returns whether a division of the inputs cuts through groups, or through an order of inputs."""
    if layout.split != "inputs":
        return False
    parts = rows.shape[1] if rows.group == rows.shape[1] else rows.shape[1] // rows.group
    return rows.order is not None or parts % layout.shards > 0


def _code_dtype(rows: QuantisedRows) -> jnp.dtype:
    """Returns the dtype of codes: 4 bits and E2M1 take half a byte, 5 to 8 bits a byte."""
    if rows.e2m1:
        return jnp.dtype(jnp.float4_e2m1fn)
    return jnp.dtype(jnp.uint4 if rows.bits == 4 else jnp.uint8)


def _stored_codes(rows: QuantisedRows) -> np.ndarray:
    """Returns the codes in the dtype in which devices hold them; E2M1 as the numbers themselves."""
    numbers = (rows.codes.astype(np.float32) - rows.zero) / 2 if rows.e2m1 else rows.codes
    return numbers.astype(_code_dtype(rows))


def _scale(rows: QuantisedRows) -> Factors:
    return Factors(2 * rows.scale.outer, rows.scale.inner) if rows.e2m1 else rows.scale


def _zero(rows: QuantisedRows) -> int:
    return 0 if rows.e2m1 or not isinstance(rows.zero, int) else rows.zero


def _arranged(array: np.ndarray, layout: WeightLayout) -> np.ndarray:
    """Returns `array[N, m]` as `[lead..., m, N]`, and for a table as it is."""
    if layout.order == "table":
        return array
    lead = layout.outputs[: layout.lead]
    return array.reshape(*lead, len(array) // prod(lead), array.shape[1]).swapaxes(-1, -2)


def _outer_size(part: Factors, rows: QuantisedRows, layout: WeightLayout) -> int:
    """Returns the number of outer factors of a row. Where a device would have a part of one, each group has its own."""
    size = part.outer.shape[1]
    cut = layout.split == "inputs" and size > 1 and size % layout.shards > 0
    return rows.shape[1] // rows.group if cut else size


def _orders(stack: Sequence[QuantisedRows], layout: WeightLayout) -> np.ndarray | None:
    """Returns the orders of inputs of the weights, or None if all have that of the model."""
    if all(rows.order is None for rows in stack):
        return None
    orders = [np.arange(rows.shape[1], dtype=np.int32) if rows.order is None else rows.order for rows in stack]
    return np.stack(orders) if layout.stack else orders[0]
