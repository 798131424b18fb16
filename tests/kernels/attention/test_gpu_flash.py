"""The GPU kernels, interpreted without a GPU, at sizes that tile unevenly, against full causal attention."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxchat.arithmetic import cdiv
from jaxchat.kernels.attention import gpu_flash
from jaxchat.kernels.attention.gpu_kv_loop import KVLoop, Tiling
from jaxchat.kernels.attention.ragged_batch import RaggedBatch
from jaxchat.kernels.attention.reference import causal
from jaxchat.kernels.attention.spec import PLAIN, AttentionSpec

d = 16
WIDTHS = [d, 48]  # the latter is wider in the kernels
INTERPRET = jax.default_backend() != "gpu"


def random(*shape: int, seed: int) -> jax.Array:
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


def paged(x: jax.Array, page: int, table: np.ndarray) -> jax.Array:
    """Returns `[T, K, d]` in the pages `[K, N, page, d]` of `table`; everything outside is NaN."""
    pages = np.full((x.shape[1], table.max() + 1, page, x.shape[2]), np.nan, np.float32)
    for position, row in enumerate(np.asarray(x)):
        pages[:, table[position // page], position % page] = row
    return jnp.asarray(pages)


@pytest.mark.parametrize(
    ("length", "heads", "kv_heads", "page"),
    [(1, 2, 2, 16), (77, 7, 1, 8), (300, 6, 2, 32), (300, 40, 2, 64), (2500, 4, 2, 16)],
)
@pytest.mark.parametrize(("spec", "width"), [(PLAIN, WIDTHS[0]), (AttentionSpec(window=200), WIDTHS[1])])
def test_decode(length: int, heads: int, kv_heads: int, page: int, spec: AttentionSpec, width: int) -> None:
    q, k, v = (random(length, n, width, seed=n + i) for i, n in enumerate((heads, kv_heads, kv_heads)))
    table = np.random.default_rng(0).permutation(cdiv(length, page)) + 1
    actual = jax.jit(partial(gpu_flash.decode, spec=spec, interpret=INTERPRET))(
        q[-1:], (paged(k, page, table), paged(v, page, table)), jnp.asarray(table, jnp.int32)[None], jnp.array([length])
    )
    last = causal(0, jnp.broadcast_to(q[-1], q.shape), k, v, spec)[-1]
    np.testing.assert_allclose(actual[0], last, atol=1e-5)


@pytest.mark.parametrize("programs", [1, 5])
def test_how_many_programs_share_a_row_changes_no_bit(programs: int, monkeypatch: pytest.MonkeyPatch) -> None:
    lengths = np.array([1200, 40, 0, 3000])
    table = np.arange(4 * 188).reshape(4, 188) + 1
    q, k, v = random(4, 2, d, seed=0), *(random(table.size * 16 + 16, 1, d, seed=seed) for seed in (1, 2))
    pages = tuple(paged(x, 16, np.arange(len(x) // 16)) for x in (k, v))
    args = q, pages, jnp.asarray(table, jnp.int32), jnp.asarray(lengths, jnp.int32)
    expected = gpu_flash.decode(*args, PLAIN, interpret=INTERPRET)
    monkeypatch.setattr(gpu_flash, "PROGRAMS", programs * 4)
    np.testing.assert_array_equal(gpu_flash.decode(*args, PLAIN, interpret=INTERPRET), expected)
    assert not np.any(expected[2]) and np.all(np.any(expected[jnp.array([0, 1, 3])], axis=-1))


@pytest.mark.parametrize(("chunk", "page"), [(8, 8), (48, 16), (96, 32), (128, 16)])
@pytest.mark.parametrize(("start", "width"), [(0, WIDTHS[0]), (192, WIDTHS[1])])
def test_prefill(chunk: int, page: int, start: int, width: int) -> None:
    length = start + chunk
    q, k, v = (random(length, n, width, seed=n + i) for i, n in enumerate((6, 2, 2)))
    table = np.random.default_rng(0).permutation(cdiv(length, page)) + 1
    actual = jax.jit(partial(gpu_flash.prefill, spec=PLAIN, interpret=INTERPRET))(
        q[start:],
        (paged(k, page, table), paged(v, page, table)),
        RaggedBatch.single(jnp.asarray(table, jnp.int32), jnp.int32(start), chunk),
    )
    np.testing.assert_allclose(actual, causal(0, q, k, v)[start:], atol=1e-5)


@pytest.mark.parametrize("splits", [1, 4, 16])
@pytest.mark.parametrize("min_blocks", [1, 3, 8])
@pytest.mark.parametrize(("first", "end"), [(0, 0), (0, 1), (0, 32), (70, 71), (100, 3000)])
def test_splits_share_the_blocks(splits: int, min_blocks: int, first: int, end: int) -> None:
    loop = KVLoop(PLAIN, 1.0, 32, Tiling(block=32, warps=4, stages=1, splits=splits, min_blocks=min_blocks))
    split_range = loop.split_range(jnp.arange(splits), jnp.int32(first), jnp.int32(end))
    seen = [
        int(begin + step * split_range.step)
        for begin, count in zip(split_range.begin, split_range.count, strict=True)
        for step in range(int(count))
    ]
    assert sorted(seen) == list(range(first // 32, cdiv(end, 32)))
    assert sum(split_range.count > 0) <= max(1, cdiv(len(seen), min_blocks))
