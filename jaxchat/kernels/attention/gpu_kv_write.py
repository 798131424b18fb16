"""Writes keys and values into pages on a GPU, both in one Pallas kernel. XLA would run two scatters."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jax.experimental import pallas as pl
from jax.experimental.pallas import triton as plgpu

from jaxchat.kernels.attention.gpu_kv_loop import head_mask, padded_width


def write_tokens(
    keys: Array, values: Array, k: Array, v: Array, page_ids: Array, offsets: Array, *, interpret: bool = False
) -> tuple[Array, Array]:
    """Writes the keys and values of T tokens into pages.

    Args:
        keys: `[K, N, page, d]`, the pages; the result reuses their memory.
        values: as `keys`.
        k: `[T, K, d]`, the new keys.
        v: as `k`.
        page_ids: i32 `[T]`, the page of each token. A token whose page id is N is not written.
        offsets: i32 `[T]`, offsets in the pages.
        interpret: whether to run without a GPU, slowly.

    Returns:
        The pages of keys and of values.
    """
    rows, kv_heads, width = k.shape
    pages = pl.BlockSpec((None, *keys.shape[1:]), lambda row, head: (head, 0, 0, 0))
    place = pl.BlockSpec((None,), lambda row, head: (row,))
    both = jnp.stack([k, v]).astype(keys.dtype)  # stacked, so that XLA computes both in one kernel
    written: tuple[Array, Array] = pl.pallas_call(
        _write,
        grid=(rows, kv_heads),
        in_specs=[
            pl.BlockSpec((2, None, None, padded_width(width)), lambda row, head: (0, row, head, 0)),
            place,
            place,
            pages,
            pages,
        ],
        out_specs=(pages, pages),
        out_shape=tuple(jax.ShapeDtypeStruct(array.shape, array.dtype) for array in (keys, values)),
        input_output_aliases={3: 0, 4: 1},
        interpret=interpret,
        compiler_params=plgpu.CompilerParams(num_warps=1, num_stages=1),
        name="write_tokens",
    )(both, page_ids, offsets, keys, values)
    return written


def _write(new_ref: Any, page_ref: Any, offset_ref: Any, *refs: Any) -> None:
    pages = refs[2:]  # the results, which alias the inputs
    page, offset = page_ref[...], offset_ref[...]

    @pl.when(page < pages[0].shape[0])
    def _() -> None:
        lanes = jnp.arange(new_ref.shape[1])
        own = head_mask(True, lanes.shape, pages[0].shape[-1])
        for index, array in enumerate(pages):
            new = plgpu.load(new_ref.at[index, lanes], mask=own, other=0.0)
            plgpu.store(array.at[page, offset, lanes], new, mask=own)
