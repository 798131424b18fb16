"""Values that a program computes once, although each layer uses them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import jax
import jax.numpy as jnp

Result = TypeVar("Result")
_NEVER = jnp.iinfo(jnp.int32).min


def computed_once(compute: Callable[..., Result], *operands: Any) -> Result:
    """Returns `compute(*operands)`, a pytree of arrays that no user of the arrays computes again.

    On a CPU, XLA copies elementwise functions into each operation that uses their results. The cosines of a rotation
    would then be computed for each head of each layer. XLA ignores optimization barriers when it does so, but it copies
    nothing out of a conditional.

    Args:
        compute: the function.
        operands: pytrees of arrays. The first array is i32 and not empty, such as positions. The smallest i32 must not
            occur in it.
    """

    def conditional(*operands: Any) -> Result:
        shapes = jax.eval_shape(compute, *operands)
        zeros = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)
        known_at_run_time = jax.tree.leaves(operands)[0].ravel()[0] != _NEVER  # always true, but XLA cannot know
        return jax.lax.cond(known_at_run_time, compute, lambda *_: zeros, *operands)

    result: Result = jax.lax.platform_dependent(*operands, cpu=conditional, default=compute)
    return result
