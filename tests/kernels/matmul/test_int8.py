"""Int8 matrix products: exact integers, in C++ and by XLA, and close to the product before rounding."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxchat.cache import cache_folder
from jaxchat.kernels.matmul.int8 import Int8, matmul, matmul_entry, quantise, quantise_rows, quantise_stack
from jaxchat.kernels.matmul.native import native_matmuls, take_rows

multiply = jax.jit(matmul)


def native() -> str:
    return native_matmuls(cache_folder())["int8"]


def normal(*shape: int, seed: int = 0) -> jax.Array:
    return jnp.asarray(np.random.default_rng(seed).standard_normal(shape), jnp.float32)


def expected(x: jax.Array, w: Int8) -> np.ndarray:
    """Computes the product with integers of 64 bits."""
    x = np.asarray(x)
    scale = (np.abs(x).max(-1) / np.float32(127)).astype(np.float32)
    full = np.rint(x / np.where(scale > 0, scale, 1)[:, None]).astype(np.int64)
    values = take_rows(w.values, jnp.arange(w.outputs[0]), w.inputs, w.target) if w.target else w.values
    sums = (full @ np.asarray(values, np.int64).T).astype(np.float32)
    return sums * (scale[:, None] * np.asarray(w.scale[: w.outputs[0]]))


@settings(deadline=None, max_examples=25)
@given(rows=st.integers(1, 20), inputs=st.integers(1, 1500), outputs=st.integers(1, 130), seed=st.integers(0, 1000))
def test_sums_are_exact(rows: int, inputs: int, outputs: int, seed: int) -> None:
    full = np.random.default_rng(seed).integers(-127, 128, (rows, inputs))
    full[:, 0] = 127  # so that no number of x lies between two integers, where divisions might round apart
    x, w = jnp.asarray(full, jnp.float32) / 32, normal(outputs, inputs, seed=seed + 1)
    for target in ("", native()):
        rounded = quantise_rows(w, target)
        np.testing.assert_allclose(multiply(x, rounded), expected(x, rounded), rtol=1e-6)


@pytest.mark.parametrize("target", ["", "native"])
def test_extremes_do_not_overflow(target: str) -> None:
    w = quantise_rows(jnp.full((3, 20_000), -5.0), target and native())
    actual = multiply(jnp.full((2, 20_000), 7.0), w)
    np.testing.assert_allclose(actual, np.full((2, 3), -35.0 * 20_000), rtol=1e-6)


@pytest.mark.bits
@pytest.mark.parametrize("target", ["", "native"])
def test_rows_keep_to_themselves(target: str) -> None:
    w = quantise_rows(normal(100, 300), target and native())
    x = normal(9, 300, seed=5).at[3].set(0.0)
    full = np.asarray(multiply(x, w))
    assert (full[3] == 0).all()
    for rows in range(1, 10):
        assert np.asarray(multiply(x[:rows], w)).tobytes() == full[:rows].tobytes()
    spoilt = np.asarray(multiply(x.at[4, 7].set(jnp.nan), w))
    assert np.isnan(spoilt[4]).all()
    assert np.delete(spoilt, 4, 0).tobytes() == np.delete(full, 4, 0).tobytes()


def test_it_is_near_the_product_of_what_was_rounded() -> None:
    x, w = normal(4, 30, 20), normal(30, 20, 6, 7, seed=1)
    actual = multiply(x.reshape(4, 600), quantise(w, 2))
    exact = np.einsum("tab,abcd->tcd", x, w)
    assert actual.shape == (4, 6, 7)
    assert np.sqrt(np.mean((actual - exact) ** 2) / np.mean(exact**2)) < 0.015


@pytest.mark.parametrize("target", ["", "native"])
def test_one_of_several_weights_is_multiplied_as_if_it_were_alone(target: str) -> None:
    x, several = normal(5, 70), normal(3, 70, 2, 45, seed=1)
    rounded = quantise_stack(several, 1, target and native())
    multiply_entry = jax.jit(matmul_entry)
    for index in range(3):
        alone = multiply(x, quantise(several[index], 1, target and native()))
        actual = multiply_entry(x, rounded, jnp.int32(index))
        assert actual.shape == (5, 2, 45)
        assert np.asarray(actual).tobytes() == np.asarray(alone).tobytes()


@pytest.mark.parametrize("target", ["", "native"])
def test_rows_of_a_table_are_taken(target: str) -> None:
    table = normal(50, 64)
    actual = quantise_rows(table, target and native()).take(jnp.array([3, 49]))
    assert np.abs(actual - table[jnp.array([3, 49])]).max() <= np.abs(table).max() / 127 / 2 + 1e-6
