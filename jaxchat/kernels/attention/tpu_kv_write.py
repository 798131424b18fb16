"""A Pallas kernel for TPUs that writes rows into an array in place, in the layout that attention kernels read.

XLA's scatter would choose another layout for pages with separate axes of heads and packed rows. It would copy the whole
pool to that layout and back.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu


def write_rows(target: Array, new: Array, rows: Array, *, interpret: Any = False) -> Array:
    """Returns `target` with `new[i]` at index `rows[i]`. Drops entries whose index is not below the length of `target`.

    Args:
        target: `[M, ..]`, which is updated in place if nothing else uses it.
        new: `[T, ..]`, of the same dtype.
        rows: i32 `[T]`; indices below M are not negative, and none occurs twice.
        interpret: runs the kernel without a TPU if it is `pltpu.InterpretParams()`.
    """

    def kernel(rows: Any, new: Any, _: Any, target: Any, semaphore: Any) -> None:
        def each(action: str) -> None:
            def one(index: Array, carry: None) -> None:
                @pl.when(rows[index] < target.shape[0])
                def _() -> None:
                    getattr(pltpu.make_async_copy(new.at[index], target.at[rows[index]], semaphore), action)()

            jax.lax.fori_loop(0, new.shape[0], one, None)

        each("start")
        each("wait")

    in_memory = pl.BlockSpec(memory_space=pl.ANY)
    written: Array = pl.pallas_call(
        kernel,
        out_shape=jax.ShapeDtypeStruct(target.shape, target.dtype),
        grid_spec=pltpu.PrefetchScalarGridSpec(
            num_scalar_prefetch=1,
            in_specs=[in_memory, in_memory],
            out_specs=in_memory,
            scratch_shapes=[pltpu.SemaphoreType.DMA],
        ),
        input_output_aliases={2: 0},  # the rows count, too
        interpret=interpret,
        name="write_rows",
    )(rows.astype(jnp.int32), new, target)
    return written
