"""Matrix products of activations and weights on a CPU, in C++. A row's bits do not depend on the number of rows.

XLA's own products reduce in an order that depends on the number of rows. For few rows they read weights at half the
speed of memory. The C++ kernels replace them if the machine has a compiler; `reference` computes the same in plain JAX.

Weights are packed in panels: 32 outputs side by side, in the order in which the kernels read them.

Letters: T rows of activations, k inputs, N outputs, E weights in a stack.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from math import prod
from pathlib import Path

import jax
import jax.numpy as jnp
from jax import Array

from jaxchat.kernels.cpp.build import register

TARGETS = {"float32": "matmul_f32", "bfloat16": "matmul_bf16", "int8": "matmul_s8"}
TAKE = "take_panels"
PANEL, WORD = 32, 4  # outputs side by side; bytes of a word
ROWS = 8  # f32 rows that XLA multiplies at once on a CPU


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class PanelWeight:
    """A weight `[k, outputs...]` in panels of 32 outputs.

    N is the total number of outputs, and e the number of values in 4 bytes. The array is `[N / 32, k / e, 32, e]`. N
    and k are padded with zeros to multiples of 32 and of e. A stack of E such weights has one more leading axis, for
    `matmul_entry`.
    """

    values: Array  # f32 or bf16
    inputs: int = field(metadata={"static": True})  # k
    outputs: tuple[int, ...] = field(metadata={"static": True})
    target: str = field(metadata={"static": True})  # the custom call that multiplies by it

    def take(self, outputs: Array) -> Array:
        """Returns the weights of the outputs numbered `outputs[T]` (int): `[T, k]` of the weight's dtype."""
        return take_rows(self.values, outputs, self.inputs, self.target)

    @property
    def dtype(self) -> jnp.dtype:
        """The dtype of the weight."""
        return self.values.dtype


def native_matmuls(folder: Path | None) -> dict[str, str]:
    """Returns the names of the custom calls by the dtype of the weights.

    Builds the kernels into `folder`; None builds them for this process alone.

    Raises:
        NativeError: the kernels cannot be built or loaded.
    """
    identity = register(folder, (*TARGETS.values(), *map(entry, TARGETS.values()), TAKE))
    return {dtype: f"{name}_{identity}" for dtype, name in TARGETS.items()}


def pack_weight(w: Array, inputs: int, target: str) -> PanelWeight:
    """Packs a weight for `matmul`.

    Args:
        w: f32 or bf16 `[in..., outputs...]`.
        inputs: number of input axes. They are the first ones, and products contract them.
        target: the custom call for the dtype of `w`, from `native_matmuls`.
    """
    count = prod(w.shape[:inputs])
    return PanelWeight(_pack(w, count), count, w.shape[inputs:], target)


def pack_table(w: Array, target: str) -> PanelWeight:
    """Packs a table for `matmul`. Its output axis is the first, as in an embedding that also serves as head.

    Args:
        w: f32 or bf16 `[N, k]`.
        target: the custom call for the dtype of `w`, from `native_matmuls`.
    """
    return PanelWeight(panels(w), w.shape[1], w.shape[:1], target)


def pack_stack(w: Array, inputs: int, target: str) -> PanelWeight:
    """Packs a stack of E weights for `matmul_entry`.

    Args:
        w: f32 or bf16 `[E, in..., outputs...]`.
        inputs: number of input axes. They are the first ones of each weight, and products contract them.
        target: the custom call for the dtype of `w`, from `native_matmuls`.
    """
    count = prod(w.shape[1 : 1 + inputs])
    return PanelWeight(_pack_stack(w, count), count, w.shape[1 + inputs :], target)


@jax.jit
def panels(w: Array) -> Array:
    """Reorders `w[N, k]` to panels, `[N / 32, k / e, 32, e]` with padding, see `PanelWeight`."""
    outputs, inputs = w.shape
    per_word = WORD // w.dtype.itemsize
    padded = jnp.pad(w, ((0, -outputs % PANEL), (0, -inputs % per_word)))
    return padded.reshape(len(padded) // PANEL, PANEL, -1, per_word).swapaxes(1, 2)


def take_rows(values: Array, outputs: Array, inputs: int, target: str) -> Array:
    """Returns rows of a weight `[N, k]` that `panels` packed. Uses C++, because XLA would copy the whole weight.

    Args:
        values: the packed weight, `[N / 32, k / e, 32, e]`, see `PanelWeight`.
        outputs: int `[T]`, the indices of the rows.
        inputs: k.
        target: the custom call for the dtype of `values`, from `native_matmuls`.

    Returns:
        `[T, k]` of the weight's dtype.
    """
    _, count, _, per_word = values.shape
    shape = jax.ShapeDtypeStruct((len(outputs), count * per_word), values.dtype)
    name = f"{TAKE}_{target.rpartition('_')[2]}"
    rows: Array = jax.ffi.ffi_call(name, shape)(values, outputs.astype(jnp.int32))
    return rows[:, :inputs]


def pad_to_words(x: Array) -> Array:
    """Pads `x[T, k]` with zeros to whole words of 4 bytes."""
    return jnp.pad(x, ((0, 0), (0, -x.shape[1] % (WORD // x.dtype.itemsize))))


def matmul(x: Array, w: PanelWeight) -> Array:
    """Multiplies `x[T, k]` by the weight, to f32 `[T, outputs...]`. Rounds x to the weight's dtype; sums are in f32."""
    shape = jax.ShapeDtypeStruct((x.shape[0], w.values.shape[0] * PANEL), jnp.float32)
    y: Array = jax.ffi.ffi_call(w.target, shape)(pad_to_words(x.astype(w.dtype)), w.values)
    return y[:, : prod(w.outputs)].reshape(x.shape[0], *w.outputs)


def matmul_entry(x: Array, w: PanelWeight, index: Array) -> Array:
    """Multiplies `x[T, k]` by the weight at `index` (i32 scalar) of the stack `w`, to f32 `[T, outputs...]`.

    Rounds x to the weight's dtype. Sums are in f32. Reads only that weight.
    """
    shape = jax.ShapeDtypeStruct((x.shape[0], w.values.shape[1] * PANEL), jnp.float32)
    rounded = pad_to_words(x.astype(w.dtype))
    y: Array = jax.ffi.ffi_call(entry(w.target), shape)(rounded, w.values, index.astype(jnp.int32))
    return y[:, : prod(w.outputs)].reshape(x.shape[0], *w.outputs)


def by_rows(multiply: Callable[[Array, Array], Array], x: Array, w: Array) -> Array:
    """Computes `multiply(x, w)` for `x[T, ...]` by XLA on a CPU. The bits of each row do not depend on T.

    For different numbers of rows, XLA:CPU uses kernels that sum in different orders. This function therefore multiplies
    blocks of 8 rows, or of 16 rows if the dtype of x has two bytes. It pads the last block with zeros. For f32 this
    takes about as long as one product of all rows.
    """
    rows = x.shape[0]
    size = ROWS * 4 // x.dtype.itemsize
    padded = jnp.pad(x, ((0, -rows % size), *[(0, 0)] * (x.ndim - 1)))
    if len(padded) == size:
        return multiply(padded, w)[:rows]
    blocks = jax.lax.map(lambda block: multiply(block, w), padded.reshape(-1, size, *x.shape[1:]))
    return blocks.reshape(-1, *blocks.shape[2:])[:rows]


def reference(x: Array, w: PanelWeight) -> Array:
    """Computes the same product as `matmul`, but by XLA instead of C++, as a reference for tests.

    Multiplies `x[T, k]` by the weight, to f32 `[T, outputs...]`.
    """
    precision = jax.lax.Precision.HIGHEST if w.dtype == jnp.float32 else None
    rows = w.take(jnp.arange(prod(w.outputs)))
    rounded = x.astype(w.dtype)
    y = jnp.einsum("tk,nk->tn", rounded, rows, precision=precision, preferred_element_type=jnp.float32)
    return y.reshape(x.shape[0], *w.outputs)


@jax.jit(static_argnums=1)
def _pack(w: Array, inputs: int) -> Array:
    return panels(w.reshape(inputs, -1).T)


@jax.jit(static_argnums=1)
def _pack_stack(w: Array, inputs: int) -> Array:
    return jax.vmap(panels)(w.reshape(len(w), inputs, -1).swapaxes(1, 2))


def entry(target: str) -> str:
    """Returns the name of the variant of the custom call `target` that multiplies by one weight of a stack."""
    return f"entry_{target}"
