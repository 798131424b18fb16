"""Products of the kernel for GPUs, interpreted without one, against those of the dequantised rows."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxchat.kernels.matmul import gpu_weight_only, packed
from jaxchat.kernels.matmul.rounding import round_outputs, round_rows
from jaxchat.kernels.matmul.weight_only import WeightLayout, WeightOnly
from jaxchat.kernels.matmul.weight_only_build import from_rows
from jaxchat.quantised import Factors, QuantisedRows

OUTPUTS, INPUTS = 128, 1024
INTERPRET = jax.default_backend() != "gpu"
RNG = np.random.default_rng(0)
TWICE_E2M1 = np.array([-12, -8, -6, -4, -3, -2, -1, 0, 1, 2, 3, 4, 6, 8, 12])


def rows_of(bits: int, group: int, inputs: int = INPUTS, **changes: Any) -> QuantisedRows:
    codes = RNG.integers(0, 2**bits, (OUTPUTS, inputs), np.uint8)
    scale = Factors(RNG.standard_normal((OUTPUTS, inputs // group)).astype(np.float16))
    return replace(QuantisedRows(codes, bits, group, scale, 2 ** (bits - 1)), **changes)


def two_levels(group: int) -> Factors:
    halves = RNG.standard_normal((OUTPUTS, INPUTS // 256)).astype(np.float16) / 64
    return Factors(halves, RNG.integers(-64, 64, (OUTPUTS, INPUTS // group), np.int8))


FORMS = {
    "4 bits": rows_of(4, 32),
    "4 bits, groups of 128, zero points": rows_of(4, 128, zero=RNG.integers(0, 16, (OUTPUTS, 8), np.uint8)),
    "4 bits, groups of several words": rows_of(4, 512, 1536),
    "4 bits, two levels, minima": rows_of(4, 32, scale=two_levels(32), zero=0, minimum=two_levels(32)),
    "4 bits, blocks of 16 inputs": rows_of(4, 32, 1152),
    "4 bits, another order of inputs": rows_of(4, 32, order=RNG.permutation(INPUTS).astype(np.int32)),
    "4 bits, a prime number of words": rows_of(4, 32, 256 * 37),
    "6 bits, groups of 16": rows_of(6, 16, scale=two_levels(16)),
    "8 bits, groups of 64": rows_of(8, 64),
    "E2M1": rows_of(4, 32, codes=RNG.choice(TWICE_E2M1 + 12, (OUTPUTS, INPUTS)).astype(np.uint8), zero=12, e2m1=True),
}
LAYOUTS = {"matrix": WeightLayout((OUTPUTS,)), "leading outputs": WeightLayout((2, 64), lead=1)}


def weight_of(rows: QuantisedRows, layout: WeightLayout, dtype: str = "bfloat16") -> WeightOnly:
    weight: WeightOnly = jax.tree.map(jnp.asarray, from_rows([rows], layout, jnp.dtype(dtype)))
    return weight


def right(x: np.ndarray, rows: QuantisedRows) -> np.ndarray:
    """Returns the product with x and the dequantised rows rounded to bf16, in f64."""
    a, b = (np.asarray(jnp.asarray(each, jnp.bfloat16), np.float64) for each in (x, rows.dequantised()))
    return a @ b.T


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
@pytest.mark.parametrize("rows", FORMS.values(), ids=FORMS)
@pytest.mark.parametrize("count", [1, 20])
def test_products_are_those_of_the_dequantised_rows(rows: QuantisedRows, layout: WeightLayout, count: int) -> None:
    weight = weight_of(rows, layout)
    assert gpu_weight_only.fits(weight)
    x = np.random.default_rng(1).standard_normal((count, rows.shape[1])).astype(np.float32)
    expected = right(x, rows).reshape(count, *layout.outputs)
    actual = gpu_weight_only.matmul(x, weight, interpret=INTERPRET)
    assert np.abs(actual - expected).max() < 1e-5 * np.abs(expected).max()


def test_a_row_has_the_same_bits_whatever_the_others_are() -> None:
    weight = weight_of(FORMS["4 bits"], LAYOUTS["matrix"])
    x = np.random.default_rng(2).standard_normal((16, INPUTS)).astype(np.float32)
    together = gpu_weight_only.matmul(x, weight, interpret=INTERPRET)
    for index in (0, 9, 15):
        alone = gpu_weight_only.matmul(x[index : index + 1], weight, interpret=INTERPRET)
        np.testing.assert_array_equal(together[index], alone[0])


def test_inputs_that_are_padded_to_whole_groups_count_as_zeros() -> None:
    w = np.random.default_rng(3).standard_normal((OUTPUTS, 1000)).astype(np.float32)
    rows = round_rows(w, 4)
    weight = jax.tree.map(jnp.asarray, from_rows([rows], LAYOUTS["matrix"], jnp.dtype("bfloat16"), 1000))
    x = np.random.default_rng(4).standard_normal((3, 1000)).astype(np.float32)
    expected = right(np.pad(x, ((0, 0), (0, rows.shape[1] - 1000))), rows)
    actual = gpu_weight_only.matmul(x, weight, interpret=INTERPRET)
    assert np.abs(actual - expected).max() < 1e-5 * np.abs(expected).max()


def test_weights_that_do_not_fit_are_left_to_xla() -> None:
    wide = np.random.default_rng(5).standard_normal((OUTPUTS, INPUTS)).astype(np.float32)
    matrix = LAYOUTS["matrix"]
    assert not gpu_weight_only.fits(weight_of(round_outputs(wide), matrix))  # XLA reads the codes alone
    assert not gpu_weight_only.fits(weight_of(FORMS["4 bits"], matrix, "float32"))
    assert not gpu_weight_only.fits(weight_of(FORMS["4 bits"], replace(matrix, order="table")))
    assert not gpu_weight_only.fits(weight_of(FORMS["4 bits"][:96], WeightLayout((96,))))


def test_up_to_a_number_of_rows_the_kernel_multiplies(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def counted(x: Any, w: WeightOnly, reduce_dtype: str) -> Any:
        calls.append(len(x))
        return kernel(x, w, reduce_dtype, interpret=INTERPRET)

    kernel = gpu_weight_only.matmul
    monkeypatch.setattr(gpu_weight_only, "matmul", counted)
    rows = FORMS["4 bits"]
    weight = replace(weight_of(rows, LAYOUTS["matrix"]), fused_rows=4)
    x = np.random.default_rng(6).standard_normal((5, INPUTS)).astype(np.float32)
    expected = right(x, rows)
    for count in (3, 4, 5):
        actual = packed.matmul(jnp.asarray(x[:count]), weight)
        assert np.abs(actual - expected[:count]).max() < 1e-5 * np.abs(expected).max()
    packed.matmul(jnp.asarray(x), replace(weight, fused_rows=0))
    assert calls == [3, 4]


def test_the_words_of_an_8b_model_of_2023_fit() -> None:
    assert gpu_weight_only.fits(weight_of(rows_of(4, 32, 11_008), LAYOUTS["matrix"]))  # padded to 11264 inputs
