"""Products of activations and weights on a CPU, in C++: no row's bits depend on how many rows there are.

XLA's own products reduce in an order that changes with the number of rows, and for few rows read weights at half the
speed of memory. These replace them where the machine has a compiler; `reference` is the plain twin.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import prod
from pathlib import Path

import jax
import jax.numpy as jnp
from jax import Array

from jaxchat.kernels.native.build import register

TARGETS = {"float32": "product_f32", "bfloat16": "product_bf16", "int8": "product_s8"}
SEVERAL = ("float32", "bfloat16")  # of which one of several weights can be asked for


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class OutputMajor:
    """A weight `[k, outputs...]` held as `[N, k]`, N the product of the outputs, for `product`.

    Or E such weights, `[E, N, k]`, for `entry_product`.
    """

    values: Array
    outputs: tuple[int, ...] = field(metadata={"static": True})
    target: str = field(metadata={"static": True})  # the custom call that multiplies by it

    def take(self, outputs: Array) -> Array:
        """The weights of the `outputs[T]`: `[T, k]`."""
        return jnp.take(self.values, outputs, axis=0)

    @property
    def dtype(self) -> jnp.dtype:
        """Of the weight."""
        return self.values.dtype


def native_products(folder: Path | None) -> dict[str, str]:
    """The custom calls by the weights' dtype; built into `folder`, or for this process alone.

    Raises:
        NativeError: there is no compiler, or it fails.
    """
    identity = register(folder, (*TARGETS.values(), *(_entry(TARGETS[dtype]) for dtype in SEVERAL)))
    return {dtype: f"{name}_{identity}" for dtype, name in TARGETS.items()}


def output_major(w: Array, inputs: int, target: str) -> OutputMajor:
    """`w[in..., outputs...]`, whose first `inputs` axes are summed over, for `product`."""
    flat = _transposed(w, prod(w.shape[:inputs]))
    return OutputMajor(flat, w.shape[inputs:], target)


def output_major_each(w: Array, inputs: int, target: str) -> OutputMajor:
    """`w[E, in..., outputs...]`, E weights, for `entry_product`."""
    flat = _each_transposed(w, prod(w.shape[1 : 1 + inputs]))
    return OutputMajor(flat, w.shape[1 + inputs :], target)


def product(x: Array, w: OutputMajor) -> Array:
    """`x[T, k]` times the weight, to f32 `[T, outputs...]`; x is rounded to the weight's dtype, sums are in f32."""
    given = x.astype(w.dtype)
    shape = jax.ShapeDtypeStruct((x.shape[0], w.values.shape[0]), jnp.float32)
    y: Array = jax.ffi.ffi_call(w.target, shape)(given, w.values)
    return y.reshape(x.shape[0], *w.outputs)


def entry_product(x: Array, w: OutputMajor, index: Array) -> Array:
    """`product` with the weight of that index (i32 scalar), which alone is read."""
    shape = jax.ShapeDtypeStruct((x.shape[0], w.values.shape[1]), jnp.float32)
    y: Array = jax.ffi.ffi_call(_entry(w.target), shape)(x.astype(w.dtype), w.values, index.astype(jnp.int32))
    return y.reshape(x.shape[0], *w.outputs)


def reference(x: Array, w: OutputMajor) -> Array:
    """What `product` computes, by XLA."""
    precision = jax.lax.Precision.HIGHEST if w.dtype == jnp.float32 else None
    given = x.astype(w.dtype)
    y = jnp.einsum("tk,nk->tn", given, w.values, precision=precision, preferred_element_type=jnp.float32)
    return y.reshape(x.shape[0], *w.outputs)


@jax.jit(static_argnums=1)
def _transposed(w: Array, inputs: int) -> Array:
    return w.reshape(inputs, -1).T


@jax.jit(static_argnums=1)
def _each_transposed(w: Array, inputs: int) -> Array:
    return w.reshape(len(w), inputs, -1).swapaxes(1, 2)


def _entry(target: str) -> str:
    """The custom call that multiplies by one of several weights."""
    return f"entry_{target}"
