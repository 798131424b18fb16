"""Products of few rows with weights in groups on an NVIDIA GPU, as a Pallas kernel that is compiled by Triton.

XLA would write the dequantised weights to memory and read them again, eight times the bytes of codes of 4 bits. The
kernel reads codes and factors instead, once for all rows. With many rows, products take longer than reading, and XLA
computes them.

Each instance multiplies all rows by some inputs of some outputs. The sums over inputs of several instances are added in
one order, which depends on the shape of the weight alone.

Letters: T rows of activations, k inputs in G groups, N outputs, L entries of the leading output axes, S partial
sums.
"""

from __future__ import annotations

from functools import partial
from math import prod
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.experimental import pallas as pl
from jax.experimental.pallas import triton as plgpu

from jaxchat.arithmetic import cdiv
from jaxchat.kernels.matmul.weight_only import (
    GroupFactors,
    WeightOnly,
    codes_of_words,
    group_count,
    numbers_of,
)
from jaxchat.kernels.matmul.weight_only_product import arranged, local_outputs

LEAST_ROWS = 16  # of a tile that tensor cores multiply
TILE = 32  # inputs that are multiplied at once, or those of a block if they are fewer
WIDTHS = (128, 64)  # outputs of an instance
FEW, MANY = {"num_warps": 4, "num_stages": 3}, {"num_warps": 8, "num_stages": 2}  # up to 64 rows, and more
INSTANCES = 256  # of the kernel, to keep a GPU busy


class Factors(NamedTuple):
    """The factors of a weight, `[L, G or fewer, N]`, or Pallas refs of those that belong to one instance."""

    scale: GroupFactors
    zeros: Any
    minimum: GroupFactors | None


def fits(w: WeightOnly) -> bool:
    """Returns whether the kernel can multiply by the weight."""
    if w.layout.order == "table":
        return False
    inputs, outputs = w.codes.shape[-2:]
    return (
        w.dtype == jnp.bfloat16
        and group_count(w) > 1
        and (inputs == TILE // 2 or inputs % TILE == 0)
        and outputs % WIDTHS[-1] == 0
    )


def matmul(x: Array, w: WeightOnly, reduce_dtype: str = "float32", *, interpret: bool = False) -> Array:
    """Multiplies `x[T, k]` by the weight, to f32 `[T, outputs...]`. The weight must fit, see `fits`.

    Rounds x and the dequantised weights to bf16, and sums in f32.

    Args:
        x: activations.
        w: one weight.
        reduce_dtype: the dtype to which each device rounds its partial sum, if the sum runs over devices.
        interpret: whether to run without a GPU, slowly.
    """
    lead = w.layout.lead
    rows, codes = len(x), w.codes.reshape(-1, *w.codes.shape[lead:])
    together = jax.tree.map(lambda array: array.reshape(-1, *array.shape[lead:]), Factors(w.scale, w.zeros, w.minimum))
    x = arranged(x, w, prod(codes.shape[1:3]) * _per_code(codes))
    x = jnp.pad(x, ((0, max(LEAST_ROWS, pl.next_power_of_2(rows)) - rows), (0, 0)))
    sums = _sums(x, codes, together, w.zero, group_count(w), w.e2m1, interpret)
    y = jnp.sum(sums, axis=0).astype(reduce_dtype).astype(jnp.float32)  # [L, T, N]
    return y.swapaxes(0, 1)[:rows].reshape(rows, *local_outputs(w.layout, y.shape[-1]))


@partial(jax.jit, static_argnums=(3, 4, 5, 6))
def _sums(x: Array, codes: Array, factors: Factors, zero: int, groups: int, e2m1: bool, interpret: bool) -> Array:
    """Returns sums over parts of the inputs, f32 `[S, L, T, N]`. The rows of x are a tile, the inputs are padded."""
    products, words, inputs, outputs = codes.shape
    steps = words * cdiv(inputs, TILE)
    width = next(width for width in WIDTHS if outputs % width == 0)
    instances = products * outputs // width
    parts = min(pl.next_power_of_2(cdiv(INSTANCES, instances)), steps)

    def of_outputs(array: Array) -> pl.BlockSpec:
        return pl.BlockSpec((None, *array.shape[1:-1], width), lambda n, part, lead: (lead, *[0] * (array.ndim - 2), n))

    kernel = partial(_kernel, groups=groups, parts=parts, zero=zero, e2m1=e2m1)
    leaves, tree = jax.tree.flatten(factors)
    sums: Array = pl.pallas_call(
        lambda x, codes, *rest: kernel(x, codes, jax.tree.unflatten(tree, rest[:-1]), rest[-1]),
        grid=(outputs // width, parts, products),
        in_specs=[pl.BlockSpec(x.shape, lambda n, part, lead: (0, 0)), *map(of_outputs, (codes, *leaves))],
        out_specs=pl.BlockSpec((None, None, len(x), width), lambda n, part, lead: (part, lead, 0, n)),
        out_shape=jax.ShapeDtypeStruct((parts, products, len(x), outputs), jnp.float32),
        compiler_params=plgpu.CompilerParams(**(FEW if len(x) <= 64 else MANY)),
        interpret=interpret,
        name="weight_only",
    )(x, codes, *leaves)
    return sums


def _kernel(
    x_ref: Any, codes_ref: Any, factors: Factors, out_ref: Any, *, groups: int, parts: int, zero: int, e2m1: bool
) -> None:
    """Multiplies all rows by one part of the inputs of `width` outputs."""
    words, inputs, width = codes_ref.shape
    per_code, tile = _per_code(codes_ref), min(inputs, TILE)
    steps = words * (inputs // tile)
    each, part = cdiv(steps, parts), pl.program_id(1)

    def add(step: Array, sums: Array) -> Array:
        word, begin = step // (inputs // tile), step % (inputs // tile) * tile
        entries = codes_ref[word, pl.ds(begin, tile)]
        for index in range(per_code):  # codes of a word
            block = word * per_code + index
            codes = codes_of_words(entries, index) if per_code > 1 else entries
            weights = _weights(numbers_of(codes, zero, e2m1), factors, block * groups // (words * per_code), groups)
            x = x_ref[:, pl.ds(block * inputs + begin, tile)]
            sums += jnp.dot(x, weights.astype(x.dtype), preferred_element_type=jnp.float32)
        return sums

    first = part * each
    last = jnp.minimum(first + each, steps)
    sums = jax.lax.fori_loop(first, last, add, jnp.zeros((len(x_ref), width), jnp.float32))
    out_ref[...] = sums


def _weights(numbers: Array, factors: Factors, group: Array, groups: int) -> Array:
    """Dequantises a tile of one group, f32."""

    def value(factors: GroupFactors) -> Array:
        outer = factors.outer[group * factors.outer.shape[0] // groups].astype(jnp.float32)
        return outer if factors.inner is None else outer * factors.inner[group].astype(jnp.float32)

    if factors.zeros is not None:
        numbers -= factors.zeros[group].astype(jnp.float32)[None]
    numbers *= value(factors.scale)[None]
    return numbers if factors.minimum is None else numbers - value(factors.minimum)[None]


def _per_code(codes: Any) -> int:
    """Returns how many codes an entry of an array has: 8 for words, otherwise 1."""
    return 8 if codes.dtype == jnp.int32 else 1
