"""int8 weights with one scale for each output, times int8 activations with one scale for each token.

Values are rounded symmetrically to the nearest of -127 .. 127, as in arXiv 2208.07339, but without separate outliers.
Products are summed as integers, exactly, so that the order of summation cannot matter.

Letters: T rows of activations, k inputs, N outputs, E weights in a stack.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import prod

import jax
import jax.numpy as jnp
from jax import Array

from jaxchat.kernels.matmul.native import PANEL, entry, pad_to_words, panels, take_rows
from jaxchat.kernels.rounding import round_to_int8

Rounding = tuple[Array, Array, Array]  # values s8 [N, k], scale f32 [N], sums of values i32 [N]


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Int8:
    """A weight `[k, outputs...]` as `values[N, k] * scale[N, 1]`, where N is the total number of outputs.

    For a custom call, the values are in panels, s8 `[N / 32, k / 4, 32, 4]`. N and k are then padded with zeros to
    multiples of 32 and of 4. A stack of E such weights has one more leading axis in every array, for `matmul_entry`.
    """

    values: Array  # s8 [N, k]
    scale: Array  # f32 [N]
    sums: Array  # i32 [N], the sum of each row of values
    inputs: int = field(metadata={"static": True})  # k
    outputs: tuple[int, ...] = field(metadata={"static": True})
    dtype: jnp.dtype = field(metadata={"static": True})  # of the weight before rounding
    target: str = field(
        metadata={"static": True}, default=""
    )  # the custom call that multiplies by it; empty: XLA multiplies

    def take(self, outputs: Array) -> Array:
        """Returns the weights of the outputs numbered `outputs[T]` (int), f32 `[T, k]`."""
        rows = take_rows(self.values, outputs, self.inputs, self.target) if self.target else self.values[outputs]
        return rows.astype(jnp.float32) * self.scale[outputs][:, None]


def quantise(w: Array, inputs: int, target: str = "") -> Int8:
    """Rounds a weight to int8 with one scale for each output.

    Args:
        w: f32 or bf16 `[in..., outputs...]`.
        inputs: number of input axes. They are the first ones, and products contract them.
        target: the custom call that multiplies by int8, from `native_matmuls`; empty: XLA multiplies.
    """
    count = prod(w.shape[:inputs])
    return _int8(_by_output(w, count), count, w.shape[inputs:], w.dtype, target)


def quantise_rows(w: Array, target: str = "") -> Int8:
    """Rounds a table to int8. Its output axis is the first, as in an embedding that also serves as head.

    Args:
        w: f32 or bf16 `[N, k]`.
        target: the custom call that multiplies by int8, from `native_matmuls`; empty: XLA multiplies.
    """
    return _int8(_rows(w), w.shape[1], w.shape[:1], w.dtype, target)


def quantise_stack(w: Array, inputs: int, target: str = "") -> Int8:
    """Rounds a stack of E weights to int8 with one scale for each output of each weight.

    Args:
        w: f32 or bf16 `[E, in..., outputs...]`.
        inputs: number of input axes. They are the first ones of each weight, and products contract them.
        target: the custom call that multiplies by int8, from `native_matmuls`; empty: XLA multiplies.
    """
    count = prod(w.shape[1 : 1 + inputs])
    return _int8(_stack_by_output(w, count), count, w.shape[1 + inputs :], w.dtype, target)


def matmul(x: Array, w: Int8) -> Array:
    """Multiplies `x[T, k]` by the weight, to f32 `[T, outputs...]`. Rounds each row of x to int8."""
    if w.target:
        return _call(w.target, x, w)
    values, scale = round_to_int8(x.astype(jnp.float32))
    integers = jnp.einsum("tk,nk->tn", values.astype(jnp.int8), w.values, preferred_element_type=jnp.int32)
    y = integers.astype(jnp.float32) * (scale[:, None] * w.scale)
    return y.reshape(x.shape[0], *w.outputs)


def matmul_entry(x: Array, w: Int8, index: Array) -> Array:
    """Multiplies `x[T, k]` by the weight at `index` (i32 scalar) of the stack `w`, to f32 `[T, outputs...]`.

    Rounds each row of x to int8. Reads only that weight.
    """
    if w.target:
        return _call(entry(w.target), x, w, index.astype(jnp.int32))
    return matmul(x, jax.tree.map(lambda array: jax.lax.dynamic_index_in_dim(array, index, keepdims=False), w))


def _call(target: str, x: Array, w: Int8, *index: Array) -> Array:
    """Multiplies `x[T, k]` by a custom call, to f32 `[T, outputs...]`. The call takes x as unsigned bytes.

    Args:
        target: the custom call.
        x: the inputs.
        w: the weight, or a stack of weights.
        index: for a stack, the index of the weight, i32 scalar.
    """
    values, scale = round_to_int8(x.astype(jnp.float32))
    shape = jax.ShapeDtypeStruct((x.shape[0], w.scale.shape[-1]), jnp.float32)
    shifted = pad_to_words((values + 128).astype(jnp.uint8))
    y: Array = jax.ffi.ffi_call(target, shape)(shifted, scale, w.values, w.scale, w.sums, *index)
    return y[:, : prod(w.outputs)].reshape(x.shape[0], *w.outputs)


def _int8(rounded: Rounding, inputs: int, outputs: tuple[int, ...], dtype: jnp.dtype, target: str) -> Int8:
    values, scale, sums = rounded
    if target:
        padding = [(0, 0)] * (scale.ndim - 1) + [(0, -scale.shape[-1] % PANEL)]
        scale, sums = (jnp.pad(array, padding) for array in (scale, sums))
        values = panels(values) if values.ndim == 2 else jax.lax.map(panels, values)
    return Int8(values, scale, sums, inputs, outputs, dtype, target)


@jax.jit
def _rows(w: Array) -> Rounding:
    integers, scale = round_to_int8(w.astype(jnp.float32))
    values = integers.astype(jnp.int8)
    return values, scale, jnp.sum(values, axis=-1, dtype=jnp.int32)


@jax.jit(static_argnums=1)
def _by_output(w: Array, inputs: int) -> Rounding:
    return _rows(w.reshape(inputs, -1).T)


@jax.jit(static_argnums=1)
def _stack_by_output(w: Array, inputs: int) -> Rounding:
    """Rounds the weights of a stack, `[E, in..., outputs...]`, one after the other.

    A weight is widened to f32 while it is rounded. `inputs` is the number of inputs of each weight.
    """
    rounded: Rounding = jax.lax.map(lambda weight: _by_output(weight, inputs), w)
    return rounded
