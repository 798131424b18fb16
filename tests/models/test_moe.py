"""Experts: every token passes those that its router chose, and other tokens never change a bit of it."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxchat.cache import cache_folder
from jaxchat.kernels.matmul.native import native_matmuls
from jaxchat.models.config import Experts, ModelConfig
from jaxchat.models.moe import ROWS, MoE, grouped_ffn, route, rows_of
from jaxchat.models.param_specs import moe_specs
from jaxchat.models.sharding import TensorParallel
from jaxchat.runtime.compile import options
from jaxchat.runtime.weight_packing import PanelPacking, pack

EXPERTS = Experts(count=6, top_k=3, mlp_dim=24)
CONFIG = ModelConfig(
    vocab_size=8,
    num_layers=1,
    num_heads=1,
    num_kv_heads=1,
    embed_dim=32,
    mlp_dim=24,
    head_dim=8,
    max_seq_len=8,
    experts=EXPERTS,
)


def random(*shape: int, seed: int = 0) -> jax.Array:
    return jnp.array(np.random.default_rng(seed).normal(size=shape), jnp.float32)


def mixture(dtype: str = "float32", *, native: bool = False):
    layer = MoE(CONFIG, EXPERTS)
    params = jax.tree.map(lambda leaf: leaf.astype(dtype), layer.init(jax.random.key(0), random(2, 32)))
    if native:
        pack(params["params"], moe_specs(CONFIG, EXPERTS), PanelPacking(native_matmuls(cache_folder())))
    return jax.jit(lambda x: layer.apply(params, x), compiler_options=options("cpu"))


@pytest.mark.parametrize("tokens", [1, 7, ROWS * 5])
@pytest.mark.parametrize("load", ["even", "all to one"])
@pytest.mark.parametrize("size", [ROWS, 4 * ROWS])
def test_no_token_is_dropped(tokens: int, load: str, size: int) -> None:
    x = random(tokens, 5)
    chosen = random(tokens, 6, seed=1).argsort(axis=1)[:, :3]
    if load == "all to one":
        chosen = jnp.tile(jnp.array([4, 1, 0]), (tokens, 1))
    shares = random(tokens, 3, seed=2)
    actual = jax.jit(lambda *args: grouped_ffn(times_its_number, *args, 6, size))(x, chosen, shares)
    np.testing.assert_allclose(actual, expected(x, chosen, shares), rtol=1e-5, atol=1e-6)


def times_its_number(expert: jax.Array, rows: jax.Array) -> jax.Array:
    return rows * (expert + 1)


def expected(x: jax.Array, chosen: jax.Array, shares: jax.Array) -> np.ndarray:
    """Computes the result of such experts by the definition."""
    return np.asarray(x) * np.sum(np.asarray(shares) * (np.asarray(chosen) + 1), axis=1, keepdims=True)


def test_experts_of_another_device_give_nothing_here() -> None:
    x, chosen, shares = random(9, 5), jnp.arange(27).reshape(9, 3) % 6, random(9, 3, seed=2)
    actual = grouped_ffn(times_its_number, x, jnp.where(chosen < 4, chosen, 4), shares, 4)
    others = jnp.where(chosen < 4, shares, 0)
    np.testing.assert_allclose(actual, expected(x, chosen, others), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("tokens", "rows"), [(1, 8), (64, 8), (65, 16), (512, 64), (4096, 128)])
def test_blocks_have_twice_the_tokens_of_an_expert(tokens: int, rows: int) -> None:
    assert rows_of(tokens, Experts(count=128, top_k=8, mlp_dim=1)) == rows


def test_long_blocks_compute_the_same() -> None:
    x = random(64, 32)
    layer = MoE(CONFIG, EXPERTS)
    params = layer.init(jax.random.key(0), x)
    actual = MoE(CONFIG, EXPERTS, TensorParallel(long_blocks=True)).apply(params, x)
    np.testing.assert_allclose(actual, layer.apply(params, x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("normalized", [True, False])
def test_shares_are_those_of_a_softmax(normalized: bool) -> None:
    logits = random(9, 6)
    chosen, shares = route(logits, Experts(count=6, top_k=3, mlp_dim=1, normalized=normalized))
    expected = np.take_along_axis(np.asarray(jax.nn.softmax(logits)), np.asarray(chosen), axis=1)
    if normalized:
        expected /= expected.sum(1, keepdims=True)
    np.testing.assert_allclose(shares, expected, rtol=1e-6)
    np.testing.assert_array_equal(chosen, np.argsort(-logits, axis=1)[:, :3])


@pytest.mark.bits
@pytest.mark.parametrize("normalized", [True, False])
@pytest.mark.parametrize("count", [6, 128])
def test_shares_have_the_same_bits_among_any_number_of_rows(count: int, normalized: bool) -> None:
    experts = Experts(count=count, top_k=3, mlp_dim=24, normalized=normalized)
    routed = jax.jit(lambda logits: route(logits, experts)[1], compiler_options=options("cpu"))
    logits = random(96, count) / 2
    full = np.asarray(routed(logits))
    for rows in (1, 2, 3, 4, 16):
        for start in (0, 41, 96 - rows):
            np.testing.assert_array_equal(routed(logits[start : start + rows]), full[start : start + rows])


@pytest.mark.bits
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("native", [True, False])
def test_neighbours_and_their_number_change_no_bit(dtype: str, native: bool) -> None:
    layer, row = mixture(dtype, native=native), random(1, 32, seed=7)
    actual = set()
    for seed in range(20):
        tokens = (1, 2, 4, 8, 16)[seed % 5]
        place = seed % tokens
        others = random(tokens, 32, seed=seed) * (100.0 if seed % 2 else 1.0)
        actual.add(np.asarray(layer(others.at[place].set(row[0]))[place]).tobytes())
    assert len(actual) == 1


def test_a_neighbour_that_is_no_number_stays_alone() -> None:
    x = random(4, 32)
    layer = mixture()
    actual, clean = layer(x.at[2].set(jnp.nan)), layer(x)
    assert np.isnan(actual[2]).all()
    np.testing.assert_array_equal(np.delete(actual, 2, 0), np.delete(clean, 2, 0))
