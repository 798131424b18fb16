"""Products with weights of `weight_only`, by XLA. What the compilers make of them is in docs/tpu.md.

Letters: T rows of activations, k inputs, N outputs.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from math import prod

import jax
import jax.numpy as jnp
from jax import Array

from jaxchat.kernels.matmul.native import by_rows
from jaxchat.kernels.matmul.weight_only import (
    WeightLayout,
    WeightOnly,
    group_count,
    plain_numbers,
    scaled,
)

_NEVER = 0x7F812345  # bits of f32: a NaN that no computation returns


def matmul(x: Array, w: WeightOnly, reduce_dtype: str = "float32") -> Array:
    """Multiplies `x[T, k]` by the weight, to f32 `[T, outputs...]`.

    Rounds x and the dequantised weights to the dtype of w, and sums in f32.

    If each output has only one scale, and w has neither `zeros` nor a minimum, the scales are applied to the sums
    instead of the weights. The weights in the product are then `code - w.zero`, or the numbers of E2M1. All of them are
    exact in every dtype.

    Args:
        x: activations.
        w: one weight. Inside `shard_map`, x and w are the parts of one device.
        reduce_dtype: the dtype to which each device rounds its partial sum, if the sum runs over devices.
    """
    scale_after = group_count(w) == 1 and w.scale.inner is None and w.minimum is None and w.zeros is None
    parts = parts_of_inputs(x, w)
    if not scale_after:
        wait = partial(_not_before, axis=w.layout.lead, parts=parts)
        w = replace(w, codes=jax.lax.platform_dependent(w.codes, x, cuda=wait, default=lambda codes, x: codes))
    numbers = plain_numbers(w, w.dtype if scale_after else jnp.dtype("float32"))
    weights = (numbers if scale_after else scaled(w, numbers)).astype(w.dtype)
    first = 1 if w.layout.order == "table" else w.layout.lead
    sizes = weights.shape[1:] if w.layout.order == "table" else weights.shape[first:-1]  # of the axes of inputs
    if w.codes.dtype == jnp.int32 and w.layout.order == "matrix":
        words, *others = (size for size in sizes if size > 1)
        sizes = (parts, *(each for size in (words // parts, *others) for each in small_factors(size, sizes[-1])))
        weights = weights.reshape(*weights.shape[:first], *sizes, weights.shape[-1])
    x = arranged(x, w, prod(sizes)).reshape(len(x), *sizes)
    axes = tuple(range(1, x.ndim)), tuple(range(first, first + len(sizes)))

    def multiply(x: Array, weights: Array) -> Array:
        exact = jax.lax.Precision.HIGHEST if w.dtype == jnp.float32 else None
        result = jnp.dtype(reduce_dtype)
        return jax.lax.dot_general(x, weights, (axes, ((), ())), precision=exact, preferred_element_type=result)

    def apart(x: Array, weights: Array) -> Array:
        """Multiplies. The barrier keeps the compiler from giving the weights the several output axes of the result."""
        product = multiply(x, weights)
        return product if scale_after else jax.lax.optimization_barrier(product)

    y: Array = jax.lax.platform_dependent(x, weights, cpu=partial(by_rows, multiply), tpu=apart, default=multiply)
    y = y.astype(jnp.float32)
    if scale_after:
        y *= w.scale.outer.astype(jnp.float32).reshape(y.shape[1:])
    return y.reshape(len(x), *local_outputs(w.layout, y.shape[-1]))


def parts_of_inputs(x: Array, w: WeightOnly) -> int:
    """Returns over how many devices the inputs of `x[T, k]` are divided.

    It is `layout.shards` for the inputs of all devices. It is 1 for those of one device, as inside `shard_map`, and if
    they are not divided.
    """
    return w.layout.shards if w.layout.split == "inputs" and x.shape[1] == w.inputs else 1


def arranged(x: Array, w: WeightOnly, inputs: int) -> Array:
    """Returns `x[T, k]` in the dtype of a weight and in the order of its inputs, `[T, inputs]`.

    Pads each device's part with zeros at its end.
    """
    parts, x = parts_of_inputs(x, w), (x if w.order is None else x[:, w.order]).astype(w.dtype)
    if x.shape[1] == inputs:
        return x
    apart = x.reshape(len(x), parts, -1)
    wider = jnp.pad(apart, ((0, 0), (0, 0), (0, inputs // parts - apart.shape[2]))).reshape(len(x), inputs)
    # The compiler for TPUs would transpose while it pads, which takes longer than one after the other.
    result: Array = jax.lax.platform_dependent(wider, tpu=jax.lax.optimization_barrier, default=lambda x: x)
    return result


def _not_before(codes: Array, x: Array, axis: int, parts: int) -> Array:
    """Returns the codes, in such a way that the compiler must compute x first.

    For many rows, XLA dequantises to memory on a GPU. It would first dequantise the weights of all layers, and need
    memory for all of them. An optimization barrier does not prevent that.

    Args:
        codes: codes or words of a weight.
        x: activations `[T, k]`.
        axis: the first axis of inputs of `codes`.
        parts: over how many devices the inputs are divided. Each waits for one of its activations.
    """
    own = x.reshape(len(x), parts, -1)[0, :, 0].astype(jnp.float32)
    never = (jax.lax.bitcast_convert_type(own, jnp.int32) == _NEVER).astype(codes.dtype)
    if parts == 1:
        return codes + never[0]
    axis += codes.shape[axis] % parts > 0  # a device has some inputs of the only group
    apart = codes.reshape(*codes.shape[:axis], parts, -1, *codes.shape[axis + 1 :])
    return (apart + never.reshape(parts, *[1] * (apart.ndim - axis - 1))).reshape(codes.shape)


def local_outputs(layout: WeightLayout, count: int) -> tuple[int, ...]:
    """Returns the sizes of the output axes of a weight, or of one device's part of it.

    Args:
        layout: the layout of the whole weight.
        count: size of the joined output axes, see `WeightLayout`.
    """
    first, rest = layout.outputs[: layout.lead], layout.outputs[layout.lead + 1 :]
    return (*first, count // prod(rest), *rest)


def small_factors(number: int, most: int) -> tuple[int, ...]:
    """Returns factors whose product is `number`. None is above `most`, unless a prime factor of the number is.

    The compiler for TPUs multiplies along the longest axis of inputs. If that is not the last one, it rearranges all
    codes first, or writes all weights to memory. Other axes are therefore divided until none is longer.
    """
    inner = next(size for size in range(min(number, most), 0, -1) if number % size == 0)
    return (number,) if inner in (1, number) else (*small_factors(number // inner, most), inner)
