"""Values that a program computes once, although each layer uses them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import jax
import jax.numpy as jnp
from jax import Array

Result = TypeVar("Result")
_NEVER = jnp.iinfo(jnp.int32).min


def computed_once(compute: Callable[..., Result], index: Array, *operands: Array) -> Result:
    """Returns `compute(index, *operands)`, a pytree of arrays that no user of the arrays computes again.

    On a CPU, XLA copies elementwise functions into each operation that uses their results. The cosines of a rotation
    would then be computed for each head of each layer. XLA ignores optimization barriers when it does so, but it copies
    nothing out of a conditional.

    Args:
        compute: the function.
        index: i32, of any shape that is not empty: positions or numbers of rows. The smallest i32 must not occur.
        operands: other operands.
    """

    def conditional(index: Array, *operands: Array) -> Result:
        shapes = jax.eval_shape(compute, index, *operands)
        zeros = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)
        known_at_run_time = index.ravel()[0] != _NEVER  # always true, but XLA cannot know
        return jax.lax.cond(known_at_run_time, compute, lambda *_: zeros, index, *operands)

    result: Result = jax.lax.platform_dependent(index, *operands, cpu=conditional, default=compute)
    return result
