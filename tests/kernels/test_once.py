"""`computed_once`: the same values, computed in one place of the compiled program."""

from __future__ import annotations

import re
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import Array

from jaxchat.kernels.once import computed_once


def waves(positions: Array) -> tuple[Array, Array]:
    angle = positions.astype(jnp.float32)[:, None] * jnp.float32(0.3)
    return jnp.cos(angle), jnp.sin(angle)


def layers(values: Callable[[Array], tuple[Array, Array]], positions: Array, inputs: list[Array]) -> list[Array]:
    cos, sin = values(positions)
    return [x * cos + sin for x in inputs]


def users(count: int, rows: int) -> list[Array]:
    return [jnp.asarray(np.random.default_rng(seed).normal(size=(rows, 16)), jnp.float32) for seed in range(count)]


@pytest.mark.parametrize("rows", [1, 7])
def test_the_values_are_those_of_the_function_bit_for_bit(rows: int) -> None:
    positions = jnp.arange(rows, dtype=jnp.int32) - 3  # padding may have any position
    given = [np.asarray(x) for x in jax.jit(layers, static_argnums=0)(waves, positions, users(4, rows))]
    once = jax.jit(layers, static_argnums=0)(lambda at: computed_once(waves, at), positions, users(4, rows))
    np.testing.assert_array_equal(np.stack(given), np.stack(once))


@pytest.mark.skipif(jax.default_backend() != "cpu", reason="other devices have no conditional")
def test_a_cpu_computes_them_once_for_all_users() -> None:
    def cosines(values: Callable[[Array], tuple[Array, Array]]) -> int:
        lowered = jax.jit(layers, static_argnums=0).lower(values, jnp.arange(7), users(4, 7))
        return len(re.findall(r"= \S+ cosine\(", lowered.compile().as_text() or ""))

    assert cosines(waves) > 1  # otherwise there is no need for `computed_once` any more
    assert cosines(lambda at: computed_once(waves, at)) == 1


def test_gradients_of_users_pass_by() -> None:
    def total(x: Array) -> Array:
        cos, _ = computed_once(waves, jnp.arange(3, dtype=jnp.int32))
        return (x * cos).sum()

    np.testing.assert_allclose(jax.grad(total)(jnp.ones((3, 1))), waves(jnp.arange(3))[0], rtol=1e-6)
