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


def write_rows(target: Array, new: Array, *places: Array, interpret: Any = False) -> Array:
    """Returns `target` with `new[i]` at the index that `places` have at i. Drops entries beyond the first axis.

    Args:
        target: `[M, ..]`, which is updated in place if nothing else uses it.
        new: `[T, ..]`, of the same dtype.
        places: i32 `[T]` for each of the first axes of `target`. None is negative, and no index occurs twice.
        interpret: runs the kernel without a TPU if it is `pltpu.InterpretParams()`.
    """

    def kernel(*refs: Any) -> None:
        *places, new, _, target, semaphore = refs

        def each(action: str) -> None:
            def one(entry: Array, carry: None) -> None:
                place = tuple(axis[entry] for axis in places)

                @pl.when(place[0] < target.shape[0])
                def _() -> None:
                    getattr(pltpu.make_async_copy(new.at[entry], target.at[place], semaphore), action)()

            jax.lax.fori_loop(0, new.shape[0], one, None)

        each("start")
        each("wait")

    in_memory = pl.BlockSpec(memory_space=pl.ANY)
    written: Array = pl.pallas_call(
        kernel,
        out_shape=jax.ShapeDtypeStruct(target.shape, target.dtype),
        grid_spec=pltpu.PrefetchScalarGridSpec(
            num_scalar_prefetch=len(places),
            in_specs=[in_memory, in_memory],
            out_specs=in_memory,
            scratch_shapes=[pltpu.SemaphoreType.DMA],
        ),
        input_output_aliases={len(places) + 1: 0},  # the places count, too
        interpret=interpret,
        name="write_rows",
    )(*(axis.astype(jnp.int32) for axis in places), new, target)
    return written
