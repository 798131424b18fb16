"""Layers alone: the norm in f64, and the same bits for a row whatever the number of rows."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxchat.models.layers import RMSNorm, _mean, _mean_by_product, contract


def random(*shape: int) -> jax.Array:
    return jnp.array(np.random.default_rng(0).normal(size=shape), jnp.float32)


@pytest.mark.parametrize("offset", [0.0, 1.0])
def test_the_norm_divides_by_the_root_of_the_mean_square(offset: float) -> None:
    x, scale = random(5, 3, 48), random(48)
    found = RMSNorm(1e-5, offset).apply({"params": {"scale": scale}}, x)
    wide = np.asarray(x, np.float64)
    expected = wide / np.sqrt((wide**2).mean(-1, keepdims=True) + 1e-5) * (np.asarray(scale, np.float64) + offset)
    np.testing.assert_allclose(found, expected, rtol=2e-6)


@pytest.mark.parametrize("shape", [(8, 896), (8, 2048), (8, 8, 128), (8, 2, 64), (8, 4, 256), (8, 1, 16)])
def test_the_norm_of_a_row_has_the_same_bits_among_two_four_or_eight(shape: tuple[int, ...]) -> None:
    x, scale = random(*shape), random(shape[-1])
    norm = jax.jit(lambda x: RMSNorm(1e-5).apply({"params": {"scale": scale}}, x))
    whole = np.asarray(norm(x))
    for rows in (2, 4):
        for start in range(0, 8, rows):
            np.testing.assert_array_equal(norm(x[start : start + rows]), whole[start : start + rows])


@pytest.mark.parametrize(
    ("equation", "left", "right"),
    [
        ("td,dkgh->tkgh", (5, 12), (12, 2, 3, 4)),
        ("tkgh,kghd->td", (5, 2, 3, 4), (2, 3, 4, 12)),
        ("td,vd->tv", (5, 12), (7, 12)),
    ],
)
def test_products_are_those_of_an_einsum(equation: str, left: tuple[int, ...], right: tuple[int, ...]) -> None:
    x, w = random(*left), random(*right)
    expected = np.einsum(equation, np.asarray(x, np.float64), np.asarray(w, np.float64))
    np.testing.assert_allclose(contract(equation, x, w), expected, atol=1e-5)


def test_both_norms_of_the_platforms_agree() -> None:
    x = random(5, 48)
    np.testing.assert_allclose(_mean(x), _mean_by_product(x), rtol=2e-6, atol=1e-7)
