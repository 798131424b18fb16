"""Arranges quantised rows as `WeightOnly`: in NumPy arrays, or as shapes alone for planning.

Letters: T rows of activations, k inputs, N outputs, E weights in a stack.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import lcm, prod
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxchat.kernels.matmul.weight_only import GroupFactors, WeightLayout, WeightOnly
from jaxchat.kernels.matmul.weight_only_product import small_factors
from jaxchat.quantised import Factors, QuantisedRows

_PER_WORD = 8  # codes
_LEAST, _MOST = 4, 32  # bounds of h, see `WeightOnly`: TPUs have tiles of 4 and 8 rows, and are slower above 32


def from_rows(
    stack: Sequence[QuantisedRows], layout: WeightLayout, dtype: jnp.dtype, inputs: int | None = None
) -> WeightOnly:
    """Returns the weights of `stack`, all of one form, in NumPy arrays.

    Matrices may get more inputs, all zeros, see `_padded`.

    Args:
        stack: each weight `[N, k]`, only one if `layout.stack` is False. Their orders of inputs may differ.
        layout: the arrangement of the weight.
        dtype: dtype of activations, and of weights that are not quantised.
        inputs: number of inputs in the model, if the rows are padded with zeros to whole groups; None: k.
    """
    inputs, orders = inputs or stack[0].shape[1], _orders(stack, layout)
    stack = [_padded(rows, layout) for rows in stack]
    first = stack[0]

    def stacked(arrays: Sequence[np.ndarray]) -> np.ndarray:
        arranged = [_arranged(array, layout) for array in arrays]
        return np.stack(arranged) if layout.stack else arranged[0]

    def factors_of(parts: Sequence[Factors]) -> GroupFactors:
        inner = [part.inner for part in parts if part.inner is not None]
        repeats = _outer_size(parts[0], first, layout) // parts[0].outer.shape[1]
        outer = [np.repeat(part.outer, repeats, axis=1) for part in parts]
        return GroupFactors(stacked(outer), stacked(inner) if inner else None)

    codes = stacked([_codes_of_4_bits(rows) if rows.e2m1 else _signed(rows.codes, rows) for rows in stack])
    size = _block(first, layout)
    if layout.order == "table":
        codes = _words(codes, 1) if size else codes
    else:
        codes = codes.reshape(*codes.shape[:-2], -1, size or first.group, codes.shape[-1])
        codes = _words(codes, codes.ndim - 3) if size else codes
    zeros = [_signed(rows.zero, rows) for rows in stack if isinstance(rows.zero, np.ndarray)]
    minima = [rows.minimum for rows in stack if rows.minimum is not None]
    return WeightOnly(
        codes,
        factors_of([_scale(rows) for rows in stack]),
        stacked(zeros) if zeros else None,
        factors_of(minima) if minima else None,
        orders,
        _zero(first),
        inputs,
        layout,
        jnp.dtype(dtype),
        first.e2m1,
    )


def shapes_of_rows(stack: Sequence[QuantisedRows], layout: WeightLayout, dtype: jnp.dtype) -> WeightOnly:
    """Returns what `from_rows` returns, with shapes and dtypes in place of arrays. Reads no number.

    The rows of `stack` may be fewer than the outputs of `layout`: only their form matters.
    """
    inputs, count, first = stack[0].shape[1], prod(layout.outputs), _padded(stack[0][:1], layout)
    front = ((len(stack),) if layout.stack else ()) + layout.outputs[: layout.lead]
    rest = count // prod(layout.outputs[: layout.lead])

    def shape(dtype: Any, *inputs: int) -> jax.ShapeDtypeStruct:
        if layout.order == "table":
            return jax.ShapeDtypeStruct((count, prod(inputs)), dtype)
        return jax.ShapeDtypeStruct((*front, *inputs, rest), dtype)

    def factors_of(part: Factors) -> GroupFactors:
        inner = None if part.inner is None else shape(np.int8, part.inner.shape[1])
        return GroupFactors(shape(part.outer.dtype, _outer_size(part, first, layout)), inner)

    groups, size = first.shape[1] // first.group, _block(first, layout)
    ordered = any(rows.order is not None for rows in stack)
    return WeightOnly(
        shape(np.int32, first.shape[1] // (_PER_WORD * size), size) if size else shape(np.int8, groups, first.group),
        factors_of(first.scale),
        None if isinstance(first.zero, int) else shape(np.int8, groups),
        None if first.minimum is None else factors_of(first.minimum),
        jax.ShapeDtypeStruct((*front[: layout.stack], inputs), np.int32) if ordered else None,
        _zero(first),
        inputs,
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

    In a table, h is 1. Returns 0 if codes are not packed into words.
    """
    if rows.bits != 4 and not rows.e2m1:
        return 0
    if layout.order == "table":
        return 1 if rows.shape[1] % _PER_WORD == 0 else 0
    inputs = rows.shape[1] // (layout.shards if layout.split == "inputs" else 1)
    return _block_of(inputs, 0 if rows.group == rows.shape[1] else rows.group)


def _block_of(inputs: int, group: int) -> int:
    """Returns h for a device's inputs in groups of `group` inputs, 0 if all are one group. Returns 0 without words.

    It is the largest multiple of 4 up to 32 that gives whole words, whose blocks belong to 1, 2, 4 or 8 groups, or to
    one group of several words.
    """

    def suits(size: int) -> bool:
        blocks = group // size
        words_fit = group % size == 0 and (group == 0 or _PER_WORD % blocks == 0 or blocks % _PER_WORD == 0)
        return inputs % (size * _PER_WORD) == 0 and words_fit

    return next((size for size in range(_MOST, _LEAST - 1, -_LEAST) if suits(size)), 0)


def _padded(rows: QuantisedRows, layout: WeightLayout) -> QuantisedRows:
    """Returns the rows with more inputs, all zeros, until the number of words has small factors, see `small_factors`.

    If devices divide the inputs, each gets equally many more. Example: 18944 inputs in groups of 32 are 74 words for
    each output. 37 is a prime factor of 74, so they are padded to 75.
    """
    if layout.order == "table" or not _block(rows, layout):
        return rows
    shards = layout.shards if layout.split == "inputs" else 1
    inputs = rows.shape[1] // shards
    group = 0 if rows.group == rows.shape[1] else rows.group
    parts = [part for part in (rows.scale, rows.minimum) if part is not None]
    outer = [_outer_size(part, rows, layout) for part in parts]
    unit = lcm(group or _PER_WORD * _LEAST, *(rows.shape[1] // one for one in outer if one > 1))

    least = _block_of(inputs, group)  # the kernel for GPUs needs large blocks

    def divides_well(inputs: int) -> bool:
        size = _block_of(inputs, group)
        return size >= least and max(small_factors(inputs // (size * _PER_WORD), size)) <= size

    wider = next((count for count in range(inputs, 2 * inputs, unit) if divides_well(count)), inputs)
    more = wider - inputs
    if not more:
        return rows

    def pad(array: np.ndarray) -> np.ndarray:
        """Adds zeros to each device's part of an array `[n, k]`, or `[n, groups]`."""
        if array.shape[1] == 1:  # one for the whole row
            return array
        parts = array.reshape(len(array), shards, -1)
        wider = np.pad(parts, ((0, 0), (0, 0), (0, parts.shape[2] * more // inputs)))
        return wider.reshape(len(array), -1)

    def padded(part: Factors) -> Factors:
        repeated = np.repeat(part.outer, _outer_size(part, rows, layout) // part.outer.shape[1], axis=1)
        return Factors(pad(repeated), None if part.inner is None else pad(part.inner))

    return replace(
        rows,
        codes=pad(rows.codes),
        group=group or shards * wider,
        scale=padded(rows.scale),
        zero=rows.zero if isinstance(rows.zero, int) else pad(rows.zero),
        minimum=None if rows.minimum is None else padded(rows.minimum),
    )


def _words(codes: np.ndarray, axis: int) -> np.ndarray:
    """Packs the low four bits of every eight neighbouring codes on an axis into an i32 word, the first code lowest."""
    shape = (*codes.shape[:axis], -1, _PER_WORD, *codes.shape[axis + 1 :])
    first, *others = np.moveaxis(codes.view(np.uint8).reshape(shape), axis + 1, 0) & 15
    words = first.astype(np.uint32)
    for index, each in enumerate(others, 1):
        words |= each.astype(np.uint32) << np.uint32(4 * index)
    return words.view(np.int32)


def _signed(codes: np.ndarray, rows: QuantisedRows) -> np.ndarray:
    """Returns u8 codes or zero points minus 2^(bits - 1), i8."""
    return (codes - np.uint8(_middle(rows))).view(np.int8)  # u8 wraps around


def _zero(rows: QuantisedRows) -> int:
    """Returns the zero point of all signed codes, 0 if groups have their own."""
    return rows.zero - _middle(rows) if isinstance(rows.zero, int) and not rows.e2m1 else 0


def _middle(rows: QuantisedRows) -> int:
    return 1 << (rows.bits - 1)


def _codes_of_4_bits(rows: QuantisedRows) -> np.ndarray:
    """Converts rows of E2M1 numbers to the 4-bit codes of that format, i8 `[N, k]`, 0 .. 15.

    In `rows`, `codes - zero` are twice the numbers, so that all of them are integers.
    """
    numbers = (rows.codes.astype(np.float32) - rows.zero) / 2
    return numbers.astype(jnp.float4_e2m1fn).view(np.int8)


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
