"""Products with weights in groups, in C++ and by XLA, against float64; their rows, and what `take` gives."""

from __future__ import annotations

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxchat.cache import cache_folder
from jaxchat.kernels.matmul.grouped import GroupedWeight, matmul, native_grouped, pack_rows
from jaxchat.quantised import BLOCK, Factors, QuantisedRows

multiply = jax.jit(matmul)
LONG = 2 * 512 + 256  # inputs: more than two chunks of the kernel
FORMS = {  # bits, inputs of a group, inputs of an outer factor, whether scales are in two levels, what is subtracted
    "Q4_0": (4, 32, 32, False, 8),
    "Q5_0": (5, 32, 32, False, 16),
    "Q8_0": (8, 32, 32, False, 128),
    "Q4_K": (4, 32, 256, True, "minimum"),
    "Q5_K": (5, 32, 256, True, "minimum"),
    "Q6_K": (6, 16, 256, True, 32),
    "4 bits, groups of 128 with zeros": (4, 128, 128, False, "zeros"),
    "8 bits, groups of 64 with zeros": (8, 64, 64, False, "zeros"),
    "4 bits, one group": (4, LONG, LONG, False, 8),
}
TARGETS = pytest.mark.parametrize("target", ["", "native"])


def called(target: str) -> str:
    return native_grouped(cache_folder()) if target else ""


def rows_of(form: str, outputs: int, inputs: int = LONG, seed: int = 0) -> QuantisedRows:
    bits, group, outer, two_levels, subtracted = FORMS[form]
    rng = np.random.default_rng(seed)

    def factors() -> Factors:
        numbers = rng.standard_normal((outputs, inputs // outer)).astype(np.float16)
        inner = rng.integers(-64, 64, (outputs, inputs // group), np.int8) if two_levels else None
        return Factors(numbers, inner)

    zeros = rng.integers(0, 2**bits, (outputs, inputs // group), np.uint8)
    return QuantisedRows(
        codes=rng.integers(0, 2**bits, (outputs, inputs), np.uint8),
        bits=bits,
        group=group,
        scale=factors(),
        zero=subtracted if isinstance(subtracted, int) else zeros if subtracted == "zeros" else 0,
        minimum=factors() if subtracted == "minimum" else None,
    )


def packed(rows: QuantisedRows, target: str = "native") -> GroupedWeight:
    return pack_rows([rows], (rows.shape[0],), jnp.dtype("float32"), called(target))


def activations(rows: int, inputs: int = LONG, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((rows, inputs)).astype(np.float32)


def expected(x: np.ndarray, rows: QuantisedRows) -> np.ndarray:
    """Rounds blocks of activations as arXiv 2208.07339 does rows, then multiplies in float64."""
    blocks = x.reshape(len(x), -1, BLOCK)
    limit = np.abs(blocks).max(-1, keepdims=True)
    inverse = np.divide(np.float32(127), limit, out=np.zeros_like(limit), where=limit > 0)
    rounded = np.rint(blocks * inverse) * (limit / np.float32(127))
    return rounded.reshape(x.shape).astype(np.float64) @ rows.dequantised().astype(np.float64).T


@TARGETS
@pytest.mark.parametrize("form", FORMS)
def test_products_are_near_those_in_float64(form: str, target: str) -> None:
    rows = rows_of(form, 70)
    for count in (1, 2, 5, 8, 13, 40) if target else (3,):
        x = activations(count)
        right = expected(x, rows)
        assert np.abs(multiply(x, packed(rows, target)) - right).max() < 2e-6 * np.abs(right).max()


@TARGETS
@pytest.mark.parametrize("form", FORMS)
def test_the_weights_of_some_outputs_are_those_of_the_form(form: str, target: str) -> None:
    rows = rows_of(form, 70)
    outputs = jnp.array([69, 0, 33, 33])
    taken = packed(rows, target).take(outputs)
    np.testing.assert_array_equal(taken, rows.dequantised()[np.asarray(outputs)])


@pytest.mark.bits
@TARGETS
@pytest.mark.parametrize("form", ["Q4_K", "Q5_0", "Q6_K", "Q8_0"])
def test_rows_keep_to_themselves(form: str, target: str) -> None:
    w, x = packed(rows_of(form, 40), target), activations(19)
    x[3] = 0
    full = np.asarray(multiply(x, w))
    assert (full[3] == 0).all()
    for count in (1, 2, 3, 4, 5, 7, 8, 9, 12, 16) if target else (1, 4, 9):
        assert np.asarray(multiply(x[:count], w)).tobytes() == full[:count].tobytes()
    x[4, 7] = np.nan
    spoilt = np.asarray(multiply(x, w))
    assert np.isnan(spoilt[4]).all()
    assert np.delete(spoilt, 4, 0).tobytes() == np.delete(full, 4, 0).tobytes()


@TARGETS
def test_a_stack_multiplies_by_the_weight_at_the_index(target: str) -> None:
    stack = [rows_of("Q6_K", 2 * 35, 256, seed) for seed in range(3)]
    w, x = pack_rows(stack, (2, 35), jnp.dtype("float32"), called(target)), activations(4, 256)
    for index, rows in enumerate(stack):
        y = multiply(x, w, jnp.int32(index))
        right = expected(x, rows).reshape(4, 2, 35)
        assert np.abs(y - right).max() < 2e-6 * np.abs(right).max()


@TARGETS
def test_extremes_do_not_overflow(target: str) -> None:
    rows = replace(rows_of("Q8_0", 3, 20_000 // 32 * 32), codes=np.full((3, 20_000 // 32 * 32), 0, np.uint8))
    x = np.full((9, rows.shape[1]), 7.0, np.float32)
    right = expected(x, rows)
    assert np.abs(multiply(x, packed(rows, target)) - right).max() < 1e-5 * np.abs(right).max()


@TARGETS
def test_tiny_activations_are_zero_and_infinite_ones_show(target: str) -> None:
    w, x = packed(rows_of("Q4_0", 3, 64), target), activations(2, 64)
    x[0, :32] = 1e-35
    x[1, 5] = np.inf
    y = np.asarray(multiply(x, w))
    x[0, :32] = 0
    assert y[0].tobytes() == np.asarray(multiply(x, w))[0].tobytes() and np.isfinite(y[0]).all()
    assert not np.isfinite(y[1]).any()
