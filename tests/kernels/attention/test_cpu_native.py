"""Attention in C++: close to float64, and the same bits whatever else is computed."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxchat.cache import cache_folder
from jaxchat.kernels.attention.backend import AttentionShape
from jaxchat.kernels.attention.cpu_native import NativeAttention, native_attention
from jaxchat.kernels.attention.ragged_batch import RaggedBatch
from jaxchat.kernels.attention.reference import causal
from jaxchat.kernels.attention.spec import PLAIN, AttentionSpec

PAGE, N, LENGTH = 16, 60, 320
FORMS = (
    PLAIN,
    AttentionSpec(window=70),
    AttentionSpec(scale=0.3, cap=2.0),
    AttentionSpec(window=40, sinks=jnp.linspace(-1.0, 3.0, 6)),
)


def made(kv_heads: int, width: int, dtype: str, seed: int = 0):
    """Returns a backend, the queries, keys and values of a sequence, and its pages in random order."""
    rng = np.random.default_rng(seed)
    shape = AttentionShape(num_heads=6, num_kv_heads=kv_heads, head_dim=width, dtype=dtype, page=PAGE)
    q = jnp.asarray(rng.normal(size=(LENGTH, 6, width)), jnp.float32)
    k, v = (jnp.asarray(rng.normal(size=(LENGTH, kv_heads, width)), dtype) for _ in "kv")
    table = jnp.asarray(1 + rng.permutation(N - 1)[: LENGTH // PAGE], jnp.int32)
    return NativeAttention(shape, native_attention(cache_folder())[dtype]), q, k, v, table


def written(backend, k, v, table):
    cache = tuple(
        jnp.full(each.shape, jax.lax.bitcast_convert_type(jnp.asarray(jnp.nan, k.dtype), each.dtype))
        for each in backend.shapes(N)
    )
    return backend.write_chunk(cache, k, v, table)


def prefilled(backend, q, cache, table, spec, chunk: int) -> np.ndarray:
    attend = jax.jit(partial(backend.prefill, spec=spec))
    parts = [
        attend(
            q[start : start + chunk], cache, RaggedBatch.single(table, jnp.int32(start), len(q[start : start + chunk]))
        )
        for start in range(0, LENGTH, chunk)
    ]
    return np.concatenate(parts)


@settings(deadline=None, max_examples=10)
@given(
    kv_heads=st.sampled_from([1, 2, 6]), width=st.sampled_from([8, 16, 40, 64, 80, 256]),
    dtype=st.sampled_from(["float32", "bfloat16"]), spec=st.sampled_from(FORMS), seed=st.integers(0, 99),
)  # fmt: skip
def test_it_is_full_attention(kv_heads: int, width: int, dtype: str, spec: AttentionSpec, seed: int) -> None:
    backend, q, k, v, table = made(kv_heads, width, dtype, seed)
    cache = written(backend, k, v, table)
    expected = causal(0, q, k.astype(jnp.float32), v.astype(jnp.float32), spec)
    np.testing.assert_allclose(prefilled(backend, q, cache, table, spec, LENGTH), expected, atol=2e-5)


@pytest.mark.bits
@pytest.mark.parametrize("spec", FORMS)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_chunks_and_neighbours_change_no_bit(spec: AttentionSpec, dtype: str) -> None:
    backend, q, k, v, table = made(2, 40, dtype)
    cache = written(backend, k, v, table)
    full = prefilled(backend, q, cache, table, spec, LENGTH)
    for chunk in (16, 64, 160):
        assert prefilled(backend, q, cache, table, spec, chunk).tobytes() == full.tobytes(), chunk
    decode = jax.jit(partial(backend.decode, spec=spec))
    for positions in ([299], [5, 130, 299], [299, 17, 0, 256, 255, 128, 127, 60]):
        rows = jnp.asarray(positions)
        active = jnp.asarray([position != 60 for position in positions])
        actual = decode(q[rows], cache, jnp.tile(table, (len(rows), 1)), rows + 1, active)
        for row, position in enumerate(positions):
            if position != 60:
                assert np.asarray(actual[row]).tobytes() == full[position].tobytes(), positions
            assert np.isfinite(actual[row]).all()


def test_what_is_no_number_stays_in_its_sequence() -> None:
    backend, q, k, v, table = made(2, 16, "float32")
    cache = written(backend, k.at[100].set(jnp.nan), v, table)
    actual = prefilled(backend, q, cache, table, PLAIN, 64)
    assert np.isfinite(actual[:100]).all()
    assert np.isnan(actual[100:]).all()
