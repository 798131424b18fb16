"""Keys and values as pages hold them: in their own dtype, or rounded to int8 with a scale for each token and head.

A token's stored key and value depend on that token alone. The token's own query reads the stored key and value, as the
queries of all later tokens do. So it does not matter in which step a token was computed, or whether its page was cached
or swapped.

Letters in shapes are those of `AttentionBackend`.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import Array

from jaxchat.kernels.attention.backend import Cache, Shapes
from jaxchat.kernels.rounding import round_to_int8


def cache_shapes(tokens: tuple[int, int, int], width: int, dtype: str) -> Shapes:
    """Returns the shapes and dtypes of a layer's arrays: keys and values, then their scales if the dtype is int8.

    Args:
        tokens: shape of the scales. Its three sizes are the numbers of pages, of tokens in a page and of KV heads, in
            the backend's order of axes.
        width: head dimension, the last axis of keys and values.
        dtype: dtype of stored keys and values: "float32", "bfloat16" or "int8".
    """
    numbers, scales = jax.ShapeDtypeStruct((*tokens, width), dtype), jax.ShapeDtypeStruct(tokens, jnp.float32)
    return (numbers, numbers, scales, scales) if dtype == "int8" else (numbers, numbers)


def rounded(k: Array, v: Array, kv_dtype: str | None) -> Cache:
    """Returns the arrays to write for new keys and values, in the order of `cache_shapes`.

    Args:
        k: keys, f32 or bf16 `[T, K, d]`.
        v: values, f32 or bf16 `[T, K, d]`.
        kv_dtype: "int8" for integers s8 `[T, K, d]` and their scales f32 `[T, K]`; None for `k` and `v` unchanged.
    """
    if not kv_dtype:
        return k, v
    (keys, key_scales), (values, value_scales) = (round_to_int8(x.astype(jnp.float32)) for x in (k, v))
    return keys.astype(jnp.int8), values.astype(jnp.int8), key_scales, value_scales
