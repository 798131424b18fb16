"""Layers alone: the norm in f64, and the same bits for a row whatever the number of rows."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxchat.models.layers import Norm, matmul
from jaxchat.runtime.compile import options


def random(*shape: int) -> jax.Array:
    return jnp.array(np.random.default_rng(0).normal(size=shape), jnp.float32)


@pytest.mark.parametrize("offset", [0.0, 1.0])
def test_the_norm_divides_by_the_root_of_the_mean_square(offset: float) -> None:
    x, scale = random(5, 3, 48), random(48)
    actual = Norm(1e-5, offset).apply({"params": {"scale": scale}}, x)
    wide = np.asarray(x, np.float64)
    expected = wide / np.sqrt((wide**2).mean(-1, keepdims=True) + 1e-5) * (np.asarray(scale, np.float64) + offset)
    np.testing.assert_allclose(actual, expected, rtol=2e-6)


def test_the_norm_of_a_layer_subtracts_the_mean_first() -> None:
    x, scale = random(5, 3, 48) + 2, random(48)
    actual = Norm(1e-5, kind="layer").apply({"params": {"scale": scale}}, x)
    wide = np.asarray(x, np.float64)
    wide -= wide.mean(-1, keepdims=True)
    expected = wide / np.sqrt((wide**2).mean(-1, keepdims=True) + 1e-5) * np.asarray(scale, np.float64)
    np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.bits
@pytest.mark.parametrize("shape", [(64, 896), (64, 4096)])
def test_the_norm_of_a_layer_has_the_same_bits_among_any_number_of_rows(shape: tuple[int, ...]) -> None:
    x, scale = random(*shape), random(shape[-1])
    assert_rows_agree(lambda x: Norm(1e-5, kind="layer").apply({"params": {"scale": scale}}, x), x)


@pytest.mark.bits
@pytest.mark.parametrize("shape", [(64, 896), (64, 4096), (64, 14, 64), (64, 2, 128), (64, 4, 256), (64, 1, 16)])
def test_the_norm_of_a_row_has_the_same_bits_among_any_number_of_rows(shape: tuple[int, ...]) -> None:
    x, scale = random(*shape), random(shape[-1])
    assert_rows_agree(lambda x: Norm(1e-5).apply({"params": {"scale": scale}}, x), x)


@pytest.mark.bits
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize(("inputs", "outputs"), [(896, 1152), (4864, 896), (896, 5000), (32, 6), (2048, 64)])
def test_a_product_by_xla_has_the_same_bits_among_any_number_of_rows(inputs: int, outputs: int, dtype: str) -> None:
    w = random(inputs, outputs).astype(dtype)
    assert_rows_agree(lambda x: matmul("td,df->tf", x, w), random(64, inputs))


def assert_rows_agree(function: Callable[[jax.Array], jax.Array], x: jax.Array) -> None:
    """Asserts that `function`, compiled as in the engine, gives each row of x the same bits among 1 to 64 rows."""
    compiled = jax.jit(function, compiler_options=options("cpu"))
    full = np.asarray(compiled(x))
    for rows in (1, 2, 7, 8, 32):
        for start in {0, len(x) // 2, len(x) - rows}:
            part = np.asarray(compiled(x[start : start + rows]))
            assert part.tobytes() == full[start : start + rows].tobytes(), rows


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
    np.testing.assert_allclose(matmul(equation, x, w), expected, atol=1e-5)
