"""A matrix product for training. Its forward and backward passes take inputs of one dtype and accumulate in f32.

The gradient of the decoder's own `matmul` has products with an f32 operand. These do not use the bf16 matrix units of a
CPU. A CPU without such units is faster with f32 inputs. Both need a gradient without transposed left operands.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from unittest.mock import patch

import jax
import jax.numpy as jnp
from jax import Array

from jaxchat.models import decoder, layers


@partial(jax.custom_vjp, nondiff_argnums=(2,))
def product(x: Array, w: Array, dtype: str = "bfloat16") -> Array:
    """Returns the matrix product f32 `[T, O]` of `x` f32 `[T, I]` and `w` f32 `[I, O]`, both rounded to `dtype`."""
    return _forward(x, w, dtype)[0]


def _forward(x: Array, w: Array, dtype: str) -> tuple[Array, tuple[Array, Array]]:
    x, w = x.astype(dtype), w.astype(dtype)
    return jnp.dot(x, w, preferred_element_type=jnp.float32), (x, w)


def _backward(dtype: str, saved: tuple[Array, Array], gradient: Array) -> tuple[Array, Array]:
    x, w = saved
    gradient = gradient.astype(dtype)
    to_x = jnp.einsum("to,io->ti", gradient, w, preferred_element_type=jnp.float32)
    turned = jax.lax.optimization_barrier(x.T)  # XLA:CPU has no fast product with a transposed left side
    return to_x, jnp.dot(turned, gradient, preferred_element_type=jnp.float32)


product.defvjp(_forward, _backward)


def matmul(equation: str, x: Array, w: Array, reduce_dtype: str = "float32", *, dtype: str = "bfloat16") -> Array:
    """Replaces `jaxchat.models.layers.matmul` on one device. Rounds `x` and `w` to `dtype`, sums in f32, returns f32.

    The other arguments are those of `jaxchat.models.layers.matmul`. `reduce_dtype` has no effect.
    """
    del reduce_dtype  # training does not sum over devices
    inputs, _ = equation.split("->")
    left, right = inputs.split(",")
    if right[0] not in left:  # the tied head: "td,vd->tv"
        return product(x, w.T, dtype)
    shared = sum(letter in left for letter in right)
    x = x.reshape(x.shape[0], -1)
    return product(x, w.reshape(x.shape[1], -1), dtype).reshape(x.shape[0], *w.shape[shared:])


@contextmanager
def mixed_precision(dtype: str = "bfloat16") -> Iterator[None]:
    """Makes the decoder use this module's `matmul` in functions that are traced inside the `with` block.

    Args:
        dtype: the inputs of products, "bfloat16" or "float32".
    """
    with ExitStack() as stack:
        for module in (layers, decoder):
            stack.enter_context(patch.object(module, "matmul", partial(matmul, dtype=dtype)))
        yield
