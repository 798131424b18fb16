"""Paged attention against full causal attention, whatever lies in other pages."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from jaxchat.kernels.attention.ragged_batch import RaggedBatch
from jaxchat.kernels.attention.reference import causal
from jaxchat.kernels.attention.xla import decode_attention, prefill_attention, write_chunk, write_tokens

H, K, d, PAGE, N = 6, 2, 8, 16, 40
decode = jax.jit(decode_attention)
prefill = jax.jit(prefill_attention)


def random(*shape, seed=0):
    return jnp.array(np.random.default_rng(seed).normal(size=shape), jnp.float32)


def cache(k, v, pages, seed=9):
    """Pages full of rubbish, NaN among it, with `k` and `v` written into `pages`."""
    pools = [random(N, PAGE, K, d, seed=seed).at[0].set(jnp.nan) for _ in "kv"]
    positions = jnp.arange(k.shape[0])
    ids, offsets = jnp.array(pages)[positions // PAGE], positions % PAGE
    return tuple(write_tokens(array, new, ids, offsets) for array, new in zip(pools, (k, v), strict=True))


def test_decode_agrees_with_causal_attention_at_many_lengths():
    q, k, v = random(300, H, d), random(300, K, d, seed=1), random(300, K, d, seed=2)
    expected = causal(0, q, k, v)
    pages = list(range(1, 20))
    filled = cache(k, v, pages)
    lengths = jnp.array([1, 16, 17, 127, 128, 129, 256, 300])
    table = jnp.tile(jnp.array(pages), (8, 1))
    got = decode(q[lengths - 1], filled, table, lengths, jnp.ones(8, bool))
    np.testing.assert_allclose(got, expected[lengths - 1], atol=2e-6)


def test_a_longer_neighbour_changes_no_bit():
    q, k, v = random(2, H, d), random(300, K, d, seed=1), random(300, K, d, seed=2)
    filled = cache(k, v, list(range(1, 20)))
    table = jnp.stack([jnp.arange(1, 20), jnp.arange(1, 20)])
    alone = decode(q, filled, table, jnp.array([50, 50]), jnp.array([True, False]))
    beside = decode(q, filled, table, jnp.array([50, 300]), jnp.array([True, True]))
    np.testing.assert_array_equal(alone[0], beside[0])


def test_chunked_prefill_agrees_with_causal_attention():
    q, k, v = random(192, H, d), random(192, K, d, seed=1), random(192, K, d, seed=2)
    expected = causal(0, q, k, v)
    table = jnp.array([3, 7, 1, 9, 11, 2, 30, 31, 32, 33, 34, 35, 0, 0])
    keys, values = (random(N, PAGE, K, d, seed=9).at[36:].set(jnp.nan) for _ in "kv")
    for start in range(0, 192, 64):
        ids = table[start // PAGE : start // PAGE + 4]
        keys = write_chunk(keys, k[start : start + 64], ids)
        values = write_chunk(values, v[start : start + 64], ids)
        got = prefill(q[start : start + 64], (keys, values), RaggedBatch.single(table, jnp.int32(start), 64))
        np.testing.assert_allclose(got, expected[start : start + 64], atol=2e-6)


def test_writes_past_the_last_page_are_dropped():
    pages = random(N, PAGE, K, d)
    np.testing.assert_array_equal(pages, write_tokens(pages, random(2, K, d), jnp.array([N, N]), jnp.array([0, 1])))
    np.testing.assert_array_equal(pages, write_chunk(pages, random(32, K, d), jnp.array([N, N])))
