"""Quantised weights in the layout of dense weights, for accelerators and meshes. Activations are not rounded.

XLA unpacks and scales the codes inside the product, so that only codes and scales are read from memory. On GPUs it does
so only with one scale for each output, see `gpu_weight_only`. On TPUs it depends on the axes. Groups and their inputs
must be separate axes in front of the outputs. The eight codes in a word must not belong to neighbouring inputs. No axis
of inputs may be longer than that of neighbouring words. Arrays of 4-bit types would work too, but compiled programs of
jax 0.10 do not accept them.

On TPUs, unpacking takes longer than reading, so every instruction for a weight counts. Codes are signed for that
reason: the zero point of most forms is then 0 and need not be subtracted, and codes of one byte are converted by the
matrix unit itself.

Letters: k inputs in G groups of g; N outputs.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Literal

import jax
import jax.numpy as jnp
from jax import Array
from jax.sharding import PartitionSpec

Split = Literal["none", "inputs", "outputs", "stack"]
"""The axis that devices divide among themselves: none, the inputs, the outputs, or the weights of a stack."""
Order = Literal["matrix", "table"]
"""Whether inputs stand in front of outputs (matrix), or outputs in front of inputs, to look up rows (table)."""

FUSED_ROWS = 128
"""The most rows that the kernel of `gpu_weight_only` multiplies."""


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class GroupFactors:
    """The `jaxchat.quantised.Factors` of a weight, with the axes of `WeightOnly` instead of `[n, groups]`.

    An entry of `outer` may cover several groups.
    """

    outer: Any  # f16 or f32
    inner: Any = None  # i8, one for each group


@dataclass(frozen=True)
class WeightLayout:
    """The arrangement of a weight that follows from its place in the model, whatever its stored form.

    `outputs` are the sizes of the output axes. In a matrix, the first `lead` output axes stand in front of the inputs.
    The other output axes are joined to one axis after the inputs. Devices may split only the first of these other axes.
    With `stack`, every array has one more leading axis, the weights of a stack. The axis `split` is divided into
    `shards` equal parts.
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
    """A weight `[k, outputs...]`, or a stack of them, as codes and factors of groups.

    Dequantised, an entry is `scale * (code - zero) - minimum`. Codes and zero points of b bits are those of
    `QuantisedRows` minus 2^(b - 1). With `e2m1`, the number that the bits of a code represent in the format E2M1
    replaces `code - zero`.

    The fields hold JAX arrays, or NumPy arrays before the weight is placed. For planning and placement they hold shapes
    or partition specs instead. A matrix has codes `[lead..., G, g, N]` and factors `[lead..., G, N]`. A table has codes
    `[N, k]` and factors `[N, G]`. A stack has one more leading axis. With an `order`, input j of the codes is input
    `order[j]` of the model.

    If the number of inputs allows it, eight codes of 4 bits share a word. The first code is in the lowest bits.
    Otherwise each code is an i8. In a matrix, a block is h successive inputs, and a group is one block or several.
    Words have the shape `[lead..., W, h, N]`, where `W = k / (8 h)`. The k of each device is padded so that its part of
    W has no prime factor above h. Code i of word `[w, j]` belongs to input `(8 w + i) h + j`. A table has words `[N, k
    / 8]`, each of eight successive inputs.
    """

    codes: Any  # i8, or i32 for words
    scale: GroupFactors
    zeros: Any  # i8, with the axes of factors, or None: all zero points are `zero`
    minimum: GroupFactors | None
    order: Any  # i32 [k], or None
    zero: int = field(metadata={"static": True})
    inputs: int = field(metadata={"static": True})  # k of the model, without padding
    layout: WeightLayout = field(metadata={"static": True})
    dtype: jnp.dtype = field(metadata={"static": True})  # of activations, and of weights that are not quantised
    e2m1: bool = field(metadata={"static": True}, default=False)  # whether codes of 4 bits are floats
    fused_rows: int = field(metadata={"static": True}, default=0)  # most rows for `gpu_weight_only`; 0: none

    def take(self, outputs: Array) -> Array:
        """Returns the weights of the outputs numbered `outputs[T]` (int), f32 `[T, k]`. The weight must be a table."""
        rows = jax.tree.map(lambda array: jnp.take(array, outputs, axis=0), replace(self, order=None))
        weights = scaled(rows, plain_numbers(rows, jnp.dtype("float32")))[:, : self.inputs]
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
        elif self.codes.shape[-3] == 1 and layout.shards > 1:  # one group, of whose inputs each device has some
            codes = PartitionSpec(*front, None, groups, outputs)
        else:
            codes = PartitionSpec(*front, groups, None, outputs)
        order = None if self.order is None else PartitionSpec(*front[: layout.stack])
        others = jax.tree.map(factors, replace(self, codes=None, order=None))
        return replace(others, codes=codes, order=order)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class TiedTable:
    """An embedding that also serves as head, kept twice: as a table for look-ups, and as a matrix for products.

    An embedding is kept twice if its codes have 4 bits, or if its rows have more than one group. A product with such a
    table would first unpack all codes into memory.
    """

    table: WeightOnly
    head: WeightOnly

    @property
    def dtype(self) -> jnp.dtype:
        """The dtype of activations, and of weights that are not quantised."""
        return self.table.dtype

    def take(self, outputs: Array) -> Array:
        """Returns the weights of the outputs numbered `outputs[T]` (int), f32 `[T, k]`."""
        return self.table.take(outputs)


def entry(w: WeightOnly, index: Array) -> WeightOnly:
    """Returns the weight at `index` (i32 scalar) of a stack."""
    one: WeightOnly = jax.tree.map(lambda array: jax.lax.dynamic_index_in_dim(array, index, keepdims=False), w)
    return one


def group_count(w: WeightOnly) -> int:
    """Returns the number of groups of inputs for each output, in a weight or in one device's part of it."""
    counts = w.scale.outer if w.scale.inner is None else w.scale.inner
    return counts.shape[-1 if w.layout.order == "table" else -2]


def plain_numbers(w: WeightOnly, dtype: jnp.dtype) -> Array:
    """Returns the codes minus `w.zero`, or the numbers that codes of E2M1 represent, in `dtype`. They are exact.

    If groups have different zero points (`w.zeros`), returns the codes, and `scaled` subtracts the zero points. The
    shape is `[lead..., G, g, N]` for a matrix, `[lead..., W, 8, h, N]` for a matrix in words, and `[N, k]` for a table.
    """
    codes = w.codes
    if codes.dtype == jnp.int32:
        axis = -1 if w.layout.order == "table" else -3
        index = jnp.arange(8, dtype=jnp.int32).reshape(8, *[1] * (-1 - axis))
        codes = codes_of_words(jnp.expand_dims(codes, axis), index)
    numbers = numbers_of(codes, w.zero, w.e2m1, dtype)
    return numbers.reshape(len(numbers), -1) if w.layout.order == "table" else numbers


def codes_of_words(words: Array, index: Array | int) -> Array:
    """Returns code `index` of each word (i32), with its sign: it moves to the top, and down again."""
    return words << (28 - 4 * index) >> 28


def numbers_of(codes: Array, zero: int, e2m1: bool, dtype: Any = jnp.float32) -> Array:
    """Returns codes minus `zero`, or the numbers that codes represent in the format E2M1, in `dtype`."""
    numbers = _floats(codes).astype(dtype) if e2m1 else codes.astype(dtype)
    return numbers - zero if zero else numbers


def _floats(codes: Array) -> Array:
    """Returns the numbers that the lowest four bits of codes represent in the format E2M1, f32."""
    codes = codes.astype(jnp.int32)
    size = codes & 7
    bits = (size << 22) + (126 << 23)  # exponent and mantissa move to their places in f32
    number = jnp.where(size < 2, size * jnp.float32(0.5), jax.lax.bitcast_convert_type(bits, jnp.float32))
    return jnp.where(codes & 8 == 0, number, -number)


def scaled(w: WeightOnly, numbers: Array) -> Array:
    """Returns one dequantised weight, f32.

    Args:
        w: the weight.
        numbers: the result of `plain_numbers`. The weight has the same axes, or for words those of `_by_groups`.
    """
    groups, axis = group_count(w), -1 if w.layout.order == "table" else -2
    numbers, shape = _by_groups(w, numbers)

    def values(factors: GroupFactors) -> Array:
        outer, covered = _widened(factors.outer), groups // factors.outer.shape[axis]
        if factors.inner is None:
            return (outer if covered == 1 else jnp.repeat(outer, covered, axis=axis)).reshape(shape)
        axes = (*outer.shape[:axis], outer.shape[axis], covered, *outer.shape[axis:][1:])
        inner = factors.inner.astype(jnp.float32).reshape(axes)
        return (jnp.expand_dims(outer, axis if axis < -1 else outer.ndim) * inner).reshape(shape)

    if w.zeros is not None:
        numbers -= w.zeros.astype(jnp.float32).reshape(shape)
    numbers *= values(w.scale)
    if w.minimum is not None:
        numbers -= values(w.minimum)
    return numbers.reshape(len(numbers), -1) if w.layout.order == "table" else numbers


def _by_groups(w: WeightOnly, numbers: Array) -> tuple[Array, tuple[int, ...]]:
    """Returns numbers with axes of groups and of inputs in a group, and the shape in which factors broadcast to them.

    A group of a matrix in words is a part of the blocks of each word, or all blocks of several words. Repeating the
    factors for each block instead would take TPUs longer than the product.
    """
    groups = group_count(w)
    if w.layout.order == "table":
        return numbers.reshape(len(numbers), groups, -1), (len(numbers), groups, 1)
    if w.codes.dtype != jnp.int32:
        return numbers, (*numbers.shape[:-2], 1, numbers.shape[-1])
    *lead, words, codes, size, outputs = numbers.shape
    blocks = words * codes // groups
    inside = min(blocks, codes)  # blocks of a group in a word
    outside = blocks // inside  # words of a group
    divided = (words // outside, outside, codes // inside, inside, size, outputs)
    return numbers.reshape(*lead, *divided), (*lead, words // outside, 1, codes // inside, 1, 1, outputs)


def _widened(factors: Array) -> Array:
    """Converts factors to f32."""
    if factors.dtype != jnp.float16:
        return factors
    widened: Array = jax.lax.platform_dependent(factors, tpu=_from_bits, default=lambda half: half.astype(jnp.float32))
    return widened


def _from_bits(half: Array) -> Array:
    """Converts finite f16 numbers to f32, by their bits. TPUs have no instruction for it, and XLA's code is slower."""
    bits = jax.lax.bitcast_convert_type(half, jnp.int16).astype(jnp.int32)
    size = bits & 0x7FFF
    normal = jax.lax.bitcast_convert_type((size << 13) + (112 << 23), jnp.float32)  # another bias of the exponent
    number = jnp.where(size < 1024, size.astype(jnp.float32) * jnp.float32(2**-24), normal)
    return jnp.where(bits < 0, -number, number)
