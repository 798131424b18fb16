"""Paged KV cache in plain JAX: writing keys and values into pages, and attention over a page table.

Both attentions walk the keys in blocks of fixed size with an online softmax (arXiv 1805.02867), as many blocks as the
longest row needs. A block beyond a row's own length multiplies its sums by exactly 1 and adds exactly 0, so neither a
neighbour's length nor its content can change a bit of the row.

Letters: T tokens, S slots, C chunk, N pages, P pages per sequence, H query heads, K KV heads, d head width.
Pages of one layer are `[N, page, K, d]`, keys and values apart. Page 0 is never handed out; unused entries of a table
point at it.
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import Array

from jaxchat.config import BLOCK
from jaxchat.kernels.reference import MASKED

Sums = tuple[Array, Array, Array]  # running maximum, sum of weights, weighted values


def write_tokens(pages: Array, new: Array, page_ids: Array, offsets: Array) -> Array:
    """Writes `new[T, K, d]`, each at its `page_ids[T]` and `offsets[T]`; an id of N is dropped."""
    return pages.at[page_ids, offsets].set(new.astype(pages.dtype), mode="drop")


def write_chunk(pages: Array, new: Array, page_ids: Array) -> Array:
    """Writes `new[C, K, d]` as whole pages `page_ids[C / page]`; an id of N is dropped."""
    whole = new.reshape(page_ids.shape[0], -1, *new.shape[1:])
    return pages.at[page_ids].set(whole.astype(pages.dtype), mode="drop")


def decode_attention(q: Array, keys: Array, values: Array, table: Array, lengths: Array, active: Array) -> Array:
    """Attention of one query per slot over that slot's keys.

    Args:
        q: `[S, H, d]`.
        keys: `[N, page, K, d]`, as are `values`.
        table: `[S, P]` i32.
        lengths: `[S]` i32, keys visible to each query, its own included.
        active: `[S]` bool; the result of other rows is meaningless but finite.

    Returns:
        `[S, H, d]` f32.
    """
    slots, heads, width = q.shape
    kv_heads = keys.shape[2]
    grouped = q.reshape(slots, kv_heads, heads // kv_heads, width).astype(jnp.float32) * width**-0.5

    def block(index: Array, sums: Sums) -> Sums:
        k, v, position = _gather(keys, values, table, index)
        visible = (position < lengths[:, None])[..., None, None]  # [S, B, 1, 1]
        # Multiply and reduce: for one query a row XLA:CPU does this faster than a batched dot.
        scores = jnp.sum(grouped[:, None] * k[:, :, :, None], axis=-1)  # [S, B, K, G]
        scores = jnp.where(visible, scores, MASKED)
        v = jnp.where(visible, v, 0.0)[:, :, :, None]  # a recycled page may hold a failed request's NaN
        return _accumulate(sums, scores, lambda weights: jnp.sum(weights[..., None] * v, axis=1), axis=1)

    longest = jnp.max(jnp.where(active, lengths, 1))
    top = jnp.full((slots, kv_heads, heads // kv_heads), MASKED, jnp.float32)
    return _walk(block, longest, top, width).reshape(q.shape)


def prefill_attention(q: Array, keys: Array, values: Array, table: Array, start: Array) -> Array:
    """Causal attention of a chunk of one sequence over everything before it and itself.

    Args:
        q: `[C, H, d]`, the queries at positions `start .. start + C - 1`; their keys are already in the pages.
        keys: `[N, page, K, d]`, as are `values`.
        table: `[P]` i32.
        start: i32 scalar.

    Returns:
        `[C, H, d]` f32.
    """
    chunk, heads, width = q.shape
    kv_heads = keys.shape[2]
    grouped = q.reshape(chunk, kv_heads, heads // kv_heads, width).astype(jnp.float32) * width**-0.5
    grouped = grouped.transpose(1, 2, 0, 3)  # [K, G, C, d]
    queries = start + jnp.arange(chunk)

    def block(index: Array, sums: Sums) -> Sums:
        k, v, position = _gather(keys, values, table[None], index)
        written = position[0] < start + chunk
        scores = jnp.einsum("kgcd,bkd->kgcb", grouped, k[0], precision=jax.lax.Precision.HIGHEST)
        scores = jnp.where(position[0] <= queries[:, None], scores, MASKED)
        v = jnp.where(written[:, None, None], v[0], 0.0)

        def mix(weights: Array) -> Array:
            return jnp.einsum("kgcb,bkd->kgcd", weights, v, precision=jax.lax.Precision.HIGHEST)

        return _accumulate(sums, scores, mix, axis=-1)

    top = jnp.full((kv_heads, heads // kv_heads, chunk), MASKED, jnp.float32)
    return _walk(block, start + chunk, top, width).transpose(2, 0, 1, 3).reshape(q.shape)


def _gather(keys: Array, values: Array, table: Array, index: Array) -> tuple[Array, Array, Array]:
    """Block `index` of each row of `table[R, P]`: keys and values `[R, B, K, d]` f32, positions `[1, B]`."""
    page = keys.shape[1]
    count = BLOCK // page
    ids = jax.lax.dynamic_slice_in_dim(_padded(table, count), index * count, count, axis=1)
    shape = (table.shape[0], BLOCK, *keys.shape[2:])
    k, v = (pages[ids].reshape(shape).astype(jnp.float32) for pages in (keys, values))
    return k, v, index * BLOCK + jnp.arange(BLOCK)[None]


def _padded(table: Array, count: int) -> Array:
    """The table with its width rounded up to whole blocks, so that a slice never shifts."""
    return jnp.pad(table, ((0, 0), (0, -table.shape[1] % count)))


def _accumulate(sums: Sums, scores: Array, mix: Callable[[Array], Array], axis: int) -> Sums:
    top, total, mixed = sums
    higher = jnp.maximum(top, jnp.max(scores, axis=axis))
    shrink = jnp.exp(top - higher)
    weights = jnp.exp(scores - jnp.expand_dims(higher, axis))
    return higher, total * shrink + jnp.sum(weights, axis=axis), mixed * shrink[..., None] + mix(weights)


def _walk(block: Callable[[Array, Sums], Sums], length: Array, top: Array, width: int) -> Array:
    sums = (top, jnp.zeros_like(top), jnp.zeros((*top.shape, width), jnp.float32))
    blocks = (length + BLOCK - 1) // BLOCK
    _, total, mixed = jax.lax.fori_loop(0, blocks, block, sums)
    return mixed / total[..., None]
