"""Arranges quantised rows as `WeightOnly`: in NumPy arrays, or as shapes alone for planning.

Letters: T rows of activations, k inputs, N outputs, E weights in a stack.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxchat.kernels.matmul.weight_only import GroupFactors, WeightLayout, WeightOnly
from jaxchat.quantised import Factors, QuantisedRows

_PER_WORD = 8  # codes
_LEAST = 4  # the smallest h of `WeightOnly`; TPUs have tiles of 4 and of 8 rows


def from_rows(
    stack: Sequence[QuantisedRows], layout: WeightLayout, dtype: jnp.dtype, inputs: int | None = None
) -> WeightOnly:
    """Returns the weights of `stack`, all of one form, in NumPy arrays.

    Args:
        stack: each weight `[N, k]`, only one if `layout.stack` is False. Their orders of inputs may differ.
        layout: the arrangement of the weight.
        dtype: dtype of activations, and of weights that are not quantised.
        inputs: number of inputs in the model, if the rows are padded with zeros to whole groups; None: k.
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

    codes = stacked([_codes_of_4_bits(rows) if rows.e2m1 else rows.codes for rows in stack])
    size = _block(first, layout)
    if layout.order == "table":
        codes = _words(codes, 1) if size else codes
    else:
        codes = codes.reshape(*codes.shape[:-2], -1, size or first.group, codes.shape[-1])
        codes = _words(codes, codes.ndim - 3) if size else codes
    zeros = [rows.zero for rows in stack if isinstance(rows.zero, np.ndarray)]
    minima = [rows.minimum for rows in stack if rows.minimum is not None]
    return WeightOnly(
        codes,
        factors([_scale(rows) for rows in stack]),
        stacked(zeros) if zeros else None,
        factors(minima) if minima else None,
        _orders(stack, layout),
        first.zero if isinstance(first.zero, int) else 0,
        inputs or first.shape[1],
        layout,
        jnp.dtype(dtype),
        first.e2m1,
    )


def shapes_of_rows(stack: Sequence[QuantisedRows], layout: WeightLayout, dtype: jnp.dtype) -> WeightOnly:
    """Returns what `from_rows` returns, with shapes and dtypes in place of arrays. Reads no number.

    The rows of `stack` may be fewer than the outputs of `layout`: only their form matters.
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

    groups, size = first.shape[1] // first.group, _block(first, layout)
    ordered = any(rows.order is not None for rows in stack)
    return WeightOnly(
        shape(np.uint32, first.shape[1] // (_PER_WORD * size), size) if size else shape(np.uint8, groups, first.group),
        factors(first.scale),
        None if isinstance(first.zero, int) else shape(np.uint8, groups),
        None if first.minimum is None else factors(first.minimum),
        jax.ShapeDtypeStruct((*front[: layout.stack], first.shape[1]), np.int32) if ordered else None,
        first.zero if isinstance(first.zero, int) else 0,
        first.shape[1],
        layout,
        jnp.dtype(dtype),
        first.e2m1,
    )


def splits_groups(rows: QuantisedRows, layout: WeightLayout) -> bool:
    """Returns whether the rows cannot be divided over the devices of a layout that splits their inputs.

    Each device must get whole groups. A group that is a whole row may be cut, but into equal parts. Rows that have an
    `order` cannot be divided.
    """
    if layout.split != "inputs":
        return False
    parts = rows.shape[1] if rows.group == rows.shape[1] else rows.shape[1] // rows.group
    return rows.order is not None or parts % layout.shards > 0


def _block(rows: QuantisedRows, layout: WeightLayout) -> int:
    """Returns h, the number of successive inputs whose codes have the same place in their words, see `WeightOnly`.

    In a table, h is 1. In a matrix, h is the largest number for which a group has 1, 2, 4, ... blocks of h inputs, and
    each device has whole words. Returns 0 if codes are not packed into words.
    """
    if rows.bits != 4 and not rows.e2m1:
        return 0
    if layout.order == "table":
        return 1 if rows.shape[1] % _PER_WORD == 0 else 0
    shards = layout.shards if layout.split == "inputs" else 1
    size = rows.group
    while rows.shape[1] % (size * _PER_WORD * shards):
        if size % (2 * _LEAST):
            return 0
        size //= 2
    return size


def _words(codes: np.ndarray, axis: int) -> np.ndarray:
    """Packs every eight neighbouring codes on an axis, each 0 .. 15, into a u32 word. The first has the lowest bits."""
    shape = (*codes.shape[:axis], -1, _PER_WORD, *codes.shape[axis + 1 :])
    first, *others = np.moveaxis(codes.reshape(shape), axis + 1, 0)
    words = first.astype(np.uint32)
    for index, each in enumerate(others, 1):
        words |= each.astype(np.uint32) << np.uint32(4 * index)
    return words


def _codes_of_4_bits(rows: QuantisedRows) -> np.ndarray:
    """Converts rows of E2M1 numbers to the 4-bit codes of that format, u8 `[N, k]` below 16.

    In `rows`, `codes - zero` are twice the numbers, so that all of them are integers.
    """
    numbers = (rows.codes.astype(np.float32) - rows.zero) / 2
    return numbers.astype(jnp.float4_e2m1fn).view(np.uint8)


def _scale(rows: QuantisedRows) -> Factors:
    """Returns the scales for devices. For E2M1, they are twice the scales of `rows`.

    In `rows` of E2M1 numbers, `codes - zero` are twice the numbers. On devices, codes represent the numbers themselves.
    """
    return Factors(2 * rows.scale.outer, rows.scale.inner) if rows.e2m1 else rows.scale


def _arranged(array: np.ndarray, layout: WeightLayout) -> np.ndarray:
    """Converts `array[N, m]` to `[lead..., m, N]`. Returns the array of a table unchanged."""
    if layout.order == "table":
        return array
    lead = layout.outputs[: layout.lead]
    return array.reshape(*lead, len(array) // prod(lead), array.shape[1]).swapaxes(-1, -2)


def _outer_size(part: Factors, rows: QuantisedRows, layout: WeightLayout) -> int:
    """Returns how many outer factors a row has on the devices: as many as in `part`, or one for each group.

    It is one for each group if a row has several outer factors and devices would divide the inputs of one of them. Each
    device gets the only outer factor of a row.
    """
    size = part.outer.shape[1]
    cut = layout.split == "inputs" and size > 1 and size % layout.shards > 0
    return rows.shape[1] // rows.group if cut else size


def _orders(stack: Sequence[QuantisedRows], layout: WeightLayout) -> np.ndarray | None:
    """Returns the `order` of each weight, i32 `[E, k]`, or `[k]` if `layout` has no stack.

    Returns None if all weights have their inputs in the model's order.
    """
    if all(rows.order is None for rows in stack):
        return None
    orders = [np.arange(rows.shape[1], dtype=np.int32) if rows.order is None else rows.order for rows in stack]
    return np.stack(orders) if layout.stack else orders[0]
