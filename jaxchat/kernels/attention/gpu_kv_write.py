"""Writes keys and values into pages on a GPU, all in one Pallas kernel. XLA would run a scatter for each array.

Letters in shapes are those of `AttentionBackend`.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jax.experimental import pallas as pl
from jax.experimental.pallas import triton as plgpu

from jaxchat.kernels.attention.backend import Cache
from jaxchat.kernels.attention.gpu_kv_loop import head_mask, padded_width


def write_tokens(cache: Cache, new: Cache, page_ids: Array, offsets: Array, *, interpret: bool = False) -> Cache:
    """Writes the keys and values of T tokens into pages.

    Args:
        cache: keys and values, each `[K, N, page, d]`. If they are int8, also their scales, each f32 `[K, N, page]`.
            The result reuses the memory of these arrays.
        new: new entries for each of these arrays: `[T, K, d]` for keys and for values, `[T, K]` for their scales.
        page_ids: i32 `[T]`, the page of each token. A token whose page id is N is not written.
        offsets: i32 `[T]`, offsets in the pages.
        interpret: whether to run without a GPU, slowly.

    Returns:
        The arrays of the cache.
    """
    rows, kv_heads, width = new[0].shape
    place = pl.BlockSpec((None,), lambda row, head: (row,))
    both = jnp.stack(new[:2]).astype(cache[0].dtype)  # stacked, so that XLA computes both in one kernel
    scales = [jnp.stack(new[2:])] if len(new) > 2 else []

    def pages(array: Array) -> pl.BlockSpec:
        return pl.BlockSpec((None, *array.shape[1:]), lambda row, head: (head, *[0] * (array.ndim - 1)))

    written: Cache = pl.pallas_call(
        _write,
        grid=(rows, kv_heads),
        in_specs=[
            place,
            place,
            pl.BlockSpec((2, None, None, padded_width(width)), lambda row, head: (0, row, head, 0)),
            *[pl.BlockSpec((2, None, None), lambda row, head: (0, row, head)) for _ in scales],
            *map(pages, cache),
        ],
        out_specs=tuple(map(pages, cache)),
        out_shape=tuple(jax.ShapeDtypeStruct(array.shape, array.dtype) for array in cache),
        input_output_aliases={3 + len(scales) + index: index for index in range(len(cache))},
        interpret=interpret,
        compiler_params=plgpu.CompilerParams(num_warps=1, num_stages=1),
        name="write_tokens",
    )(page_ids, offsets, both, *scales, *cache)
    return written


def _write(page_ref: Any, offset_ref: Any, new_ref: Any, *refs: Any) -> None:
    """Writes one token's keys and values in one head. The last refs are the results, which alias the cache."""
    scaled = len(refs) > 4
    keys, values, *scales = refs[5:] if scaled else refs[2:]
    page, offset = page_ref[...], offset_ref[...]

    @pl.when(page < keys.shape[0])
    def _() -> None:
        lanes = jnp.arange(new_ref.shape[1])
        own = head_mask(True, lanes.shape, keys.shape[-1])
        for index, array in enumerate((keys, values)):
            new = plgpu.load(new_ref.at[index, lanes], mask=own, other=0 if scaled else 0.0)
            plgpu.store(array.at[page, offset, lanes], new, mask=own)
        for index, array in enumerate(scales):
            plgpu.store(array.at[page, offset], refs[0][index])
