"""The arithmetic of tokamax's kernel on a CPU: a sequence's bits do not depend on the sequences that share its steps.

The kernel itself cannot be interpreted, because the interpreter of jax 0.12 does not support bitcasts of references.
These tests call the functions of one step, with blocks in the order and with the leftovers in memory of the kernel.
"""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AbstractMesh, AxisType

from jaxchat.kernels.attention.tpu_tokamax import LIMIT

MISSING = "tokamax is not installed (the extra tpu-fast)"
configs = pytest.importorskip("tokamax._src.ops.batched_rpa.kernel.configs", reason=MISSING)
flash_attention = pytest.importorskip("tokamax._src.ops.batched_rpa.kernel.flash_attention", reason=MISSING)

LANES, KEYS, K, G, d = 4, 128, 1, 2, 256  # sequences in a step, keys of a block, KV heads, queries of each, width
LENGTHS = {0: 130, 1: 5, 2: 400, 3: 257, 4: 1}
WILD = 9  # a sequence whose numbers are not finite, or at the limit
CHIP = jax.sharding.AbstractDevice(device_kind="TPU v5 lite", num_cores=1, platform="tpu")
MESH = AbstractMesh((1,), ("x",), axis_types=(AxisType.Auto,), abstract_device=CHIP)
CONFIG = configs.RpaConfigs(
    block=configs.BlockSizes(bq_sz=1, bq_c_sz=1, bkv_sz=KEYS, batch_size=LANES, n_buffer=3),
    model=configs.ModelConfigs(
        num_q_heads=G, num_kv_heads=K, head_dim=d, mask_value=float(np.finfo(np.float32).min), sm_scale=d**-0.5
    ),
    serve=configs.ServingConfigs(
        num_seqs=8,
        page_size=KEYS,
        total_q_tokens=8,
        num_page_indices=64,
        dtype_q=jnp.dtype("float32"),
        dtype_kv=jnp.dtype("bfloat16"),
        dtype_out=jnp.dtype("float32"),
    ),
    mode=configs.RpaCase.DECODE,
    vmem_limit_bytes=2**26,
)
RANDOM = np.random.default_rng(1)
QUERIES = {name: RANDOM.normal(size=(K, G, d)).astype(np.float32) for name in LENGTHS}
STORED = {name: np.array(jnp.array(RANDOM.normal(size=(2, K, n, d)), jnp.bfloat16)) for name, n in LENGTHS.items()}


@jax.jit
def step(q, k, v, masks, last, top, total, mixed):
    """Computes one step of the kernel. Returns what it hands on, and each lane's result if its block is a last one."""
    softmax = partial(flash_attention.flash_attention_qk_softmax, custom_mask=list(masks), cfgs=CONFIG, bq_start=0)
    weights, shrink, _, totals, top = softmax(0, q, k, top, total, last[None])
    sums = flash_attention.flash_attention_pv(weights, v, shrink, mixed, CONFIG)
    return top, totals[-1], sums[-1], sums / jnp.tile(totals, (1, 1, 1, d // totals.shape[-1]))


def attend(order, *, window=0, first=lambda block: 0, wild=jnp.nan):
    """Returns the results of sequences that a decode step has in that order, f32 `[K, G, d]` each.

    With a window, `first` maps the first block that has a visible key to the one that the sequence begins with.
    """
    lengths = LENGTHS | {WILD: 60}
    queries = QUERIES | {WILD: np.full((K, G, d), wild, np.float32)}
    stored = STORED | {WILD: np.array(jnp.full((2, K, 60, d), wild, jnp.bfloat16))}
    tasks = []
    for name in order:
        ends, begins = -(-lengths[name] // KEYS), max(lengths[name] - window, 0) // KEYS if window else 0
        tasks += [(name, block, block == ends - 1) for block in range(first(begins), ends)]
    carry = jnp.full((K, G, 128), -jnp.inf), jnp.zeros((K, G, 128)), jnp.zeros((K, G, d))
    memory, rows, results = np.zeros((3, LANES, 2, K, KEYS, d), stored[0].dtype), np.zeros((LANES, K, G, d)), {}
    for start in range(0, len(tasks), LANES):
        part, buffer = tasks[start : start + LANES], memory[start // LANES % 3]
        masks, last = np.zeros((LANES, K, G, KEYS), bool), np.zeros(LANES, bool)
        for lane, (name, block, is_last) in enumerate(part):
            new = stored[name][:, :, block * KEYS : (block + 1) * KEYS]
            buffer[lane, :, :, : new.shape[2]], rows[lane], last[lane] = new, queries[name], is_last
            keys, own = block * KEYS + np.arange(KEYS), lengths[name] - 1
            masks[lane] = (keys <= own) & (keys > own - (window or lengths[name]))
        with jax.sharding.use_abstract_mesh(MESH):
            given = jnp.array(rows, jnp.float32), jnp.array(buffer[:, 0]), jnp.array(buffer[:, 1])
            *carry, out = step(*given, jnp.array(masks), jnp.array(last), *carry)
        results |= {name: np.asarray(out[lane]) for lane, (name, _, is_last) in enumerate(part) if is_last}
    return results


def bits(results, name):
    return results[name].tobytes()


@pytest.fixture(scope="module")
def alone():
    return {name: attend([name])[name] for name in LENGTHS}


def test_it_is_attention(alone):
    for name, result in alone.items():
        keys, values = STORED[name].astype(np.float64)
        scores = np.einsum("kgd,ksd->kgs", QUERIES[name], keys) * d**-0.5
        weights = np.exp(scores - scores.max(-1, keepdims=True))
        expected = np.einsum("kgs,ksd->kgd", weights / weights.sum(-1, keepdims=True), values)
        np.testing.assert_allclose(result, expected, atol=2e-6)


@pytest.mark.parametrize("seed", range(10))
def test_neighbours_change_no_bit(alone, seed):
    order = np.random.default_rng(seed).permutation(list(LENGTHS)).tolist()
    results = attend(order)
    assert all(bits(results, name) == bits(alone, name) for name in LENGTHS)


def test_a_neighbour_at_the_limit_changes_no_bit_and_one_of_nan_would(alone):
    order = [0, WILD, 1, 2, 3, 4]
    limited = attend(order, wild=LIMIT)
    assert all(bits(limited, name) == bits(alone, name) for name in LENGTHS)
    assert not np.isfinite(attend(order)[2]).any()


def test_blocks_before_the_window_add_nothing():
    """A block of several queries begins with the first query's first block, where later queries see nothing."""
    order = [2, 0, 3]
    skipped, masked = (attend(order, window=70, first=first) for first in (lambda block: block, lambda block: 0))
    assert all(bits(skipped, name) == bits(masked, name) for name in order)
