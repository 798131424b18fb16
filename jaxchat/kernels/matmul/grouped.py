"""Weights of 4, 5, 6 or 8 bits in groups that share a scale, times activations rounded to int8 in blocks of 32.

This is the layout on the device of every stored form that `jaxchat.quantised.QuantisedRows` describes. Products of a
block are summed as integers, exactly. Blocks are always summed in the same order, so that a row's bits do not depend on
other rows.

Letters: T rows of activations, k inputs, N outputs, E weights in a stack.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import prod
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxchat.kernels.cpp.build import register
from jaxchat.kernels.matmul.native import PANEL, by_rows
from jaxchat.kernels.rounding import LIMIT
from jaxchat.quantised import BITS, BLOCK, Factors, QuantisedRows

TARGET, TAKE = "matmul_grouped", "take_grouped"
PART = "grouped"  # the library of these kernels
TINY = 1e-30  # blocks of activations that are all smaller are rounded to zero
_WORDS, _LINE = BLOCK // 4, 64  # words of a block; bytes of a cache line
_TWICE = 6  # bits of codes whose groups may be half a block
_CHUNK = 64  # panels that are packed at once


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class DeviceFactors:
    """`jaxchat.quantised.Factors` of a stack of E weights, in panels of 32 outputs."""

    outer: Array  # f16 or f32 [E, N / 32, k / o, 32]
    inner: Array  # i8 [E, N / 32, k / g, 32], or [0, 0, 0, 0]: all 1


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class GroupedWeight:
    """A stack of E weights `[k, outputs...]`: `scale * (codes - zero) - minimum`. N is the total number of outputs.

    Codes are in panels of 32 outputs and blocks of 32 inputs. N is padded to whole panels with weights of zero. With an
    `order`, input j of the codes is input `order[j]` of the model.

    The inputs of a block are the quads 0 to 7: quad q has the inputs 4 q .. 4 q + 3. If codes have b bits, the codes of
    one output are b words of four bytes, w_0, w_1, ... Byte i of a word belongs to input i of one or more quads:

    - b = 8: a byte of w_q is a code of quad q.
    - b < 8: w_0 to w_3 have the lower four bits of all codes. In w_q, the lower half of a byte belongs to quad q, and
      the upper half to quad q + 4.
    - b = 5: w_4 has the upper bit of all codes. Bit q of a byte belongs to quad q.
    - b = 6: w_4 has the upper two bits of quads 0 to 3, and w_5 those of quads 4 to 7, first quad in the lowest bits.
    """

    codes: Array  # u32 [E, panels, blocks, b, 32 outputs], where b is the number of bits of a code
    scale: DeviceFactors
    minimum: DeviceFactors  # `outer` is empty if there is none
    order: Array  # i32 [E, k], or [0, 0]: that of the model
    zero: int = field(metadata={"static": True})
    inputs: int = field(metadata={"static": True})  # k; codes are padded to whole blocks
    outputs: tuple[int, ...] = field(metadata={"static": True})
    dtype: jnp.dtype = field(metadata={"static": True})  # of activations, and of weights that are not quantised
    target: str = field(metadata={"static": True}, default="")  # custom call that multiplies; empty: XLA does

    @property
    def padded_inputs(self) -> int:
        """k, padded to whole blocks."""
        return self.codes.shape[-3] * BLOCK

    def take(self, outputs: Array) -> Array:
        """Returns the weights of outputs `outputs[T]` (int), f32 `[T, k]`. The stack must have one weight."""
        if self.target:
            shape = jax.ShapeDtypeStruct((len(outputs), self.padded_inputs), jnp.float32)
            name = self.target.replace(TARGET, TAKE)
            rows = jax.ffi.ffi_call(name, shape)(*_buffers(self), outputs.astype(jnp.int32), zero=np.int64(self.zero))
        else:
            rows = _rows(_entry(self, 0), outputs)
        rows = rows[:, : self.inputs]
        return jnp.empty_like(rows).at[:, self.order[0]].set(rows) if self.order.size else rows


def native_grouped(folder: Path | None) -> str:
    """Returns the name of the custom call that multiplies by a `GroupedWeight`.

    Builds the kernels into `folder`; None builds them for this process alone.

    Raises:
        NativeError: the kernels cannot be built or loaded.
    """
    return f"{TARGET}_{register(folder, (TARGET, TAKE), PART)}"


def fits(rows: QuantisedRows) -> bool:
    """Returns whether the kernels support `rows`. Groups must be whole blocks, or half blocks if codes have 6 bits."""
    least = BLOCK // 2 if rows.bits == _TWICE else BLOCK
    return rows.bits in BITS and rows.shape[1] % BLOCK == 0 and rows.group % least == 0


def pack_rows(
    stack: Sequence[QuantisedRows],
    outputs: tuple[int, ...],
    dtype: jnp.dtype,
    target: str = "",
    inputs: int | None = None,
) -> GroupedWeight:
    """Packs the weights of `stack` on the default device. All weights have one form, which `fits` accepts.

    Args:
        stack: each weight `[N, k]`. Their orders of inputs may differ.
        outputs: sizes of the output axes in the model; their product is N.
        dtype: dtype of activations, and of weights that are not quantised.
        target: the custom call from `native_grouped`. If it is empty, XLA multiplies.
        inputs: k of the model, if the rows are padded with zeros to whole blocks.
    """
    first = stack[0]
    padding = -first.shape[0] % PANEL
    empty = DeviceFactors(*(jnp.zeros((0, 0, 0, 0), kind) for kind in (jnp.float32, jnp.int8)))
    minima = [_minimum(rows) for rows in stack]
    return GroupedWeight(
        jnp.stack([_codes(np.pad(rows.codes, ((0, padding), (0, 0))), rows.bits) for rows in stack]),
        _factors([rows.scale for rows in stack], padding),
        empty if minima[0] is None else _factors([m for m in minima if m is not None], padding),
        _orders(stack),
        _zero(first),
        inputs or first.shape[1],
        outputs,
        jnp.dtype(dtype),
        target,
    )


def matmul(x: Array, w: GroupedWeight, index: Array | int = 0) -> Array:
    """Multiplies `x[T, k]` by the weight at `index` (i32 scalar) of the stack, to f32 `[T, outputs...]`.

    On a CPU, rounds each block of 32 activations to int8, with its own scale. Elsewhere, rounds activations and
    dequantised weights to the dtype of w.
    """
    count, index = prod(w.outputs), jnp.asarray(index, jnp.int32)
    x = x[:, w.order[index]] if w.order.size else x
    x = jnp.pad(x.astype(jnp.float32), ((0, 0), (0, w.padded_inputs - x.shape[1])))
    if w.target:
        y = _call(x, w, index)
    else:
        y = jax.lax.platform_dependent(x, _entry(w, index), cpu=_by_panels, default=_dequantised)
    return y[:, :count].reshape(x.shape[0], *w.outputs)


def _call(x: Array, w: GroupedWeight, index: Array) -> Array:
    tokens, blocks = x.shape[0], w.codes.shape[2]
    sums = 2 if w.codes.shape[3] == _TWICE else 1
    scratch = tokens * blocks * (BLOCK + 4 * (1 + sums)) + 3 * _LINE
    shapes = (
        jax.ShapeDtypeStruct((tokens, w.codes.shape[1] * PANEL), jnp.float32),
        jax.ShapeDtypeStruct((scratch,), jnp.uint8),
    )
    y: Array
    y, _ = jax.ffi.ffi_call(w.target, shapes)(x, *_buffers(w), index, zero=np.int64(w.zero))
    return y


def _buffers(w: GroupedWeight) -> tuple[Array, ...]:
    return w.codes, w.scale.outer, w.scale.inner, w.minimum.outer, w.minimum.inner


def _zero(rows: QuantisedRows) -> int:
    """Returns z, the number that is subtracted from every code: the zero point, if all groups have the same one.

    If groups have different zero points, z is 128 for codes of 8 bits and otherwise 0. The difference between a zero
    point and z then fits into i8. `_minimum` includes this difference.
    """
    if isinstance(rows.zero, int):
        return rows.zero
    return 128 if rows.bits == 8 else 0


def _minimum(rows: QuantisedRows) -> Factors | None:
    """Returns `minimum + scale * (zero point - _zero(rows))`, to subtract from scaled codes; None if it is 0."""
    if isinstance(rows.zero, int):
        return rows.minimum
    zeros = (rows.zero.astype(np.int16) - _zero(rows)).astype(np.int8)
    if rows.minimum is None and rows.scale.inner is None:
        return Factors(rows.scale.outer, zeros)
    minima = rows.scale.values(zeros.shape[1]) * zeros.astype(np.float32)
    return Factors(minima if rows.minimum is None else minima + rows.minimum.values(zeros.shape[1]))


def _orders(stack: Sequence[QuantisedRows]) -> Array:
    """Returns the `order` of each of E weights, i32 `[E, k]`. The shape is `[0, 0]` if all have the model's order."""
    if all(rows.order is None for rows in stack):
        return jnp.zeros((0, 0), jnp.int32)
    return jnp.stack([jnp.arange(rows.shape[1]) if rows.order is None else jnp.asarray(rows.order) for rows in stack])


def _factors(stack: Sequence[Factors], padding: int) -> DeviceFactors:
    """Returns the factors of several weights `[N, k]` in panels, N padded with zeros."""
    inner = [_panels(factors.inner, padding) for factors in stack if factors.inner is not None]
    outer = jnp.asarray(np.stack([_panels(factors.outer, padding) for factors in stack]))
    return DeviceFactors(outer, jnp.asarray(np.stack(inner)) if inner else jnp.zeros((0, 0, 0, 0), jnp.int8))


def _panels(factors: np.ndarray, padding: int) -> np.ndarray:
    padded = np.pad(factors, ((0, padding), (0, 0)))
    return np.ascontiguousarray(padded.reshape(-1, PANEL, padded.shape[1]).swapaxes(1, 2))


def _codes(codes: np.ndarray, bits: int) -> Array:
    """Returns `codes[N, k]` as words `[N / 32, k / 32, bits, 32]`, see `GroupedWeight`."""
    panels, blocks = codes.shape[0] // PANEL, codes.shape[1] // BLOCK
    packed = np.empty((panels, blocks, bits, PANEL, 4), np.uint8)
    for start in range(0, panels, _CHUNK):
        part = codes[start * PANEL : (start + _CHUNK) * PANEL].reshape(-1, PANEL, blocks, _WORDS, 4)
        words, to = part.transpose(0, 2, 3, 1, 4), packed[start : start + _CHUNK]
        if bits == 8:
            to[...] = words
            continue
        to[:, :, :4] = words[:, :, :4] & 15 | words[:, :, 4:] << 4
        high = words >> 4
        for row in range(bits - 4):
            per_byte = _WORDS // (bits - 4)
            parts = [high[:, :, row * per_byte + i] << (i * (bits - 4)) for i in range(per_byte)]
            to[:, :, 4 + row] = functools.reduce(np.bitwise_or, parts)
    return jnp.asarray(packed.view(np.uint32)[..., 0])


def _entry(w: GroupedWeight, index: Array | int) -> GroupedWeight:
    """Returns one weight of the stack, without the first axis of its arrays."""
    return jax.tree.map(lambda array: array[index] if len(array) else array, w)


def _by_panels(x: Array, w: GroupedWeight) -> Array:
    """Multiplies `x[T, k]` by the weight with XLA, one panel after the other, to f32 `[T, N]`.

    Rounds as the kernels do, but adds in another order.
    """
    rounded = _rounded(x)

    def multiply(panel: Array) -> Array:
        weights = _rows(w, panel * PANEL + jnp.arange(PANEL))
        exact = jax.lax.Precision.HIGHEST
        return by_rows(lambda a, b: jnp.einsum("tk,nk->tn", a, b, precision=exact), rounded, weights)

    y = jax.lax.map(multiply, jnp.arange(w.codes.shape[0]))
    return y.swapaxes(0, 1).reshape(len(x), -1)


def _dequantised(x: Array, w: GroupedWeight) -> Array:
    """Multiplies `x[T, k]` by dequantised weights, to f32 `[T, N]`. XLA may unpack the codes inside the product."""
    weights = _rows(w, jnp.arange(w.codes.shape[0] * PANEL)).astype(w.dtype)
    exact = jax.lax.Precision.HIGHEST if w.dtype == jnp.float32 else None
    return jnp.einsum("tk,nk->tn", x.astype(w.dtype), weights, precision=exact, preferred_element_type=jnp.float32)


def _rounded(x: Array) -> Array:
    """Returns `x[T, k]` with each block of 32 rounded to int8, as f32."""
    blocks = x.reshape(len(x), -1, BLOCK)
    limit = jnp.max(jnp.abs(blocks), axis=-1, keepdims=True)
    some = ~(limit < TINY)  # NaN too
    scale = jnp.where(some, limit / LIMIT, 0.0)
    return (jnp.round(blocks * jnp.where(some, LIMIT / limit, 0.0)) * scale).reshape(x.shape)


def _rows(w: GroupedWeight, outputs: Array) -> Array:
    """Returns the weights of some outputs, f32 `[T, k]`, of a `GroupedWeight` without the first axis of its arrays."""
    panel, lane = outputs // PANEL, outputs % PANEL
    bits = w.codes.shape[2]
    words = w.codes[panel, :, :, lane]  # [T, k / 32, bits]
    octets = (words[..., None] >> (8 * jnp.arange(4, dtype=jnp.uint32))) & 0xFF  # [T, k / 32, bits, 4]
    codes = octets
    if bits < 8:
        codes = jnp.concatenate([octets[:, :, :4] & 15, octets[:, :, :4] >> 4], axis=2)
        extra, each = bits - 4, _WORDS // max(bits - 4, 1)
        for row in range(extra):
            shifts = extra * jnp.arange(each, dtype=jnp.uint32)
            high = (octets[:, :, 4 + row, None] >> shifts[:, None]) & (2**extra - 1)
            codes = codes.at[:, :, row * each : (row + 1) * each].add(high << 4)
    values = codes.reshape(len(outputs), -1).astype(jnp.float32) - w.zero
    values *= _spread(w.scale, panel, lane, w.padded_inputs)
    return values - _spread(w.minimum, panel, lane, w.padded_inputs) if w.minimum.outer.size else values


def _spread(factors: DeviceFactors, panel: Array, lane: Array, inputs: int) -> Array:
    """Returns the factors of T outputs of one weight, repeated for each input, f32 `[T, inputs]`.

    `panel`, int `[T]`, is the panel of each output, and `lane`, int `[T]`, its place in that panel.
    """
    outer = factors.outer[panel, :, lane].astype(jnp.float32)
    values = jnp.repeat(outer, inputs // outer.shape[1], axis=1)
    if not factors.inner.size:
        return values
    inner = factors.inner[panel, :, lane].astype(jnp.float32)
    return values * jnp.repeat(inner, inputs // inner.shape[1], axis=1)
