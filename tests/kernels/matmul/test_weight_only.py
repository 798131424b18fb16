"""Weight-only products compute what NumPy computes with the dequantised rows, in every layout and stored form."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxchat.kernels.matmul import packed
from jaxchat.kernels.matmul.rounding import round_outputs, round_rows
from jaxchat.kernels.matmul.weight_only import TiedTable, WeightLayout, WeightOnly, _from_bits, entry
from jaxchat.kernels.matmul.weight_only_build import from_rows, shapes_of_rows, splits_groups
from jaxchat.kernels.matmul.weight_only_product import _not_before, matmul, small_factors
from jaxchat.quantised import Factors, QuantisedRows, imagined_rows

OUTPUTS, INPUTS = 24, 128
RNG = np.random.default_rng(0)


def rows_of(bits: int, group: int, seed: int = 0, **changes: Any) -> QuantisedRows:
    rng = np.random.default_rng(seed)
    codes = rng.integers(0, 2**bits, (OUTPUTS, INPUTS), np.uint8)
    scale = Factors(rng.standard_normal((OUTPUTS, INPUTS // group)).astype(np.float16))
    return replace(QuantisedRows(codes, bits, group, scale, 2 ** (bits - 1)), **changes)


def two_levels(group: int, outer: int, seed: int) -> Factors:
    rng = np.random.default_rng(seed)
    halves = rng.standard_normal((OUTPUTS, INPUTS // outer)).astype(np.float16)
    return Factors(halves, rng.integers(-64, 64, (OUTPUTS, INPUTS // group), np.int8))


ZEROS = RNG.integers(0, 16, (OUTPUTS, INPUTS // 32), np.uint8)
FORMS = {
    "4 bits": rows_of(4, 32),
    "4 bits, zero points": rows_of(4, 32, zero=ZEROS),
    "4 bits, two levels, minima": rows_of(4, 32, scale=two_levels(32, 64, 1), zero=0, minimum=two_levels(32, 64, 2)),
    "6 bits, groups of 16": rows_of(6, 16, scale=two_levels(16, 128, 3)),
    "8 bits, one scale": rows_of(8, INPUTS),
    "8 bits, one scale, zero points": rows_of(8, INPUTS, zero=ZEROS[:, :1]),
    "4 bits, another order of inputs": rows_of(4, 32, order=RNG.permutation(INPUTS).astype(np.int32)),
}
LAYOUTS = {
    "matrix": WeightLayout((OUTPUTS,)),
    "several axes of outputs": WeightLayout((2, 3, 4)),
    "leading outputs": WeightLayout((2, 12), lead=1),
    "table": WeightLayout((OUTPUTS,), order="table"),
}


TWICE_E2M1 = np.array([-12, -8, -6, -4, -3, -2, -1, 0, 1, 2, 3, 4, 6, 8, 12])
WIDE = 32 * 8 * 37  # inputs of 37 words, a prime number


def wide_rows(group: int, **changes: Any) -> QuantisedRows:
    rng = np.random.default_rng(8)
    scale = Factors(rng.standard_normal((OUTPUTS, WIDE // group)).astype(np.float16))
    return replace(QuantisedRows(rng.integers(0, 16, (OUTPUTS, WIDE), np.uint8), 4, group, scale, 8), **changes)


def wide_factors(outer: int, seed: int) -> Factors:
    rng = np.random.default_rng(seed)
    halves = rng.standard_normal((OUTPUTS, WIDE // outer)).astype(np.float16)
    return Factors(halves, rng.integers(-64, 64, (OUTPUTS, WIDE // 32), np.int8))


WIDE_FORMS = {
    "groups of 32": wide_rows(32),
    "groups of 128": wide_rows(128),
    "zero points": wide_rows(64, zero=RNG.integers(0, 16, (OUTPUTS, WIDE // 64), np.uint8)),
    "two levels, minima": wide_rows(32, scale=wide_factors(256, 9), zero=0, minimum=wide_factors(256, 10)),
    "one outer factor": wide_rows(32, scale=wide_factors(WIDE, 11)),
    "another order of inputs": wide_rows(32, order=RNG.permutation(WIDE).astype(np.int32)),
    "E2M1": wide_rows(32, codes=RNG.choice(TWICE_E2M1 + 12, (OUTPUTS, WIDE)).astype(np.uint8), zero=12, e2m1=True),
}


def on_device(weight: WeightOnly) -> WeightOnly:
    placed: WeightOnly = jax.tree.map(jnp.asarray, weight)
    return placed


def activations(count: int, inputs: int = INPUTS) -> np.ndarray:
    return np.random.default_rng(7).standard_normal((count, inputs)).astype(np.float32)


def right(x: np.ndarray, rows: QuantisedRows) -> np.ndarray:
    return x.astype(np.float64) @ rows.dequantised().astype(np.float64).T


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
@pytest.mark.parametrize("rows", FORMS.values(), ids=FORMS)
def test_products_are_those_of_the_dequantised_rows(rows: QuantisedRows, layout: WeightLayout) -> None:
    weight = on_device(from_rows([rows], layout, jnp.dtype("float32")))
    x = activations(5)
    expected = right(x, rows).reshape(5, *layout.outputs)
    assert np.abs(jax.jit(matmul)(x, weight) - expected).max() < 1e-5 * np.abs(expected).max()


@pytest.mark.parametrize("layout", [LAYOUTS["matrix"], LAYOUTS["leading outputs"]], ids=["matrix", "leading outputs"])
@pytest.mark.parametrize("rows", WIDE_FORMS.values(), ids=WIDE_FORMS)
def test_words_are_padded_until_their_number_has_small_factors(rows: QuantisedRows, layout: WeightLayout) -> None:
    weight = from_rows([rows], layout, jnp.dtype("float32"))
    words, size = weight.codes.shape[-3:-1]
    assert max(small_factors(words, size)) <= size and 8 * words * size >= WIDE
    x = activations(3, WIDE)
    expected = right(x, rows).reshape(3, *layout.outputs)
    assert np.abs(jax.jit(matmul)(x, on_device(weight)) - expected).max() < 1e-5 * np.abs(expected).max()


@pytest.mark.parametrize("name", [name for name, rows in WIDE_FORMS.items() if rows.order is None])
def test_of_padded_words_each_device_gets_those_of_its_inputs(name: str) -> None:
    rows, shards = WIDE_FORMS[name], 2
    layout = WeightLayout((OUTPUTS,), split="inputs", shards=shards)
    weight = from_rows([rows], layout, jnp.dtype("float32"))
    specs = weight.partition("devices")

    def part(index: int) -> WeightOnly:
        def cut(array: np.ndarray, spec: Any) -> jax.Array:
            axes = [axis for axis, name in enumerate(spec) if name]
            return jnp.asarray(np.split(array, shards, axes[0])[index] if axes else array)

        result: WeightOnly = jax.tree.map(cut, weight, specs)
        return result

    x = activations(3, WIDE)
    expected = right(x, rows)
    total = sum(matmul(each, part(index)) for index, each in enumerate(np.split(x, shards, axis=1)))
    assert np.abs(total - expected).max() < 1e-5 * np.abs(expected).max()


@pytest.mark.parametrize("inputs", [2880, 4864, 9472, 11_008, 12_032, 18_944, 21_504])
@pytest.mark.parametrize("shards", [1, 2, 4])
@pytest.mark.parametrize("group", [32, 64, 128])
def test_padding_makes_no_block_smaller_and_adds_little(inputs: int, shards: int, group: int) -> None:
    if inputs % (shards * group):
        pytest.skip("devices would divide the groups")
    layout = WeightLayout((8,), split="inputs" if shards > 1 else "none", shards=shards)
    shapes = shapes_of_rows([imagined_rows((8, inputs), 4, group)], layout, jnp.dtype("bfloat16"))
    own = inputs // shards
    if shapes.codes.dtype == jnp.int8:
        assert own % 32  # devices without whole words
        return
    words, size = shapes.codes.shape[-3:-1]
    blocks = [h for h in range(4, 33, 4) if own % (8 * h) == group % h == 0 and 8 % (group // h) == 0]
    assert size >= max(blocks)
    assert inputs <= 8 * words * size <= 1.1 * inputs or own < 1024


def test_factors_are_small_where_the_number_has_small_ones() -> None:
    assert [small_factors(number, 32) for number in (1, 32, 60, 75, 74, 37)] == [
        (1,),
        (32,),
        (2, 30),
        (3, 25),
        (37, 2),
        (37,),
    ]
    for number in range(1, 2000):
        assert np.prod(small_factors(number, 32)) == number


def test_factors_of_16_bits_are_widened_by_their_bits_without_loss() -> None:
    halves = np.arange(2**16, dtype=np.uint16).view(np.float16)
    halves = halves[np.isfinite(halves)]
    widened = np.asarray(jax.jit(_from_bits)(halves))
    np.testing.assert_array_equal(widened.view(np.uint32), halves.astype(np.float32).view(np.uint32))


@pytest.mark.parametrize("parts", [1, 2, 4])
@pytest.mark.parametrize("dtype", [np.int8, np.int32])
def test_codes_that_wait_for_activations_stay_as_they_are(dtype: type, parts: int) -> None:
    codes = np.random.default_rng(12).integers(-128, 127, (3, 4, 8, 2)).astype(dtype)
    usual = np.float32([0.0, -0.0, 1.5, np.inf, np.nan])
    of_a_gpu = np.uint32([0x7FFFFFFF]).view(np.float32)
    for value in (*usual, *of_a_gpu):
        x = jnp.full((2, 8), value, jnp.float32)
        for axis in (1, 2):
            waiting = jax.jit(partial(_not_before, axis=axis, parts=parts))(codes, x)
            assert waiting.dtype == dtype
            np.testing.assert_array_equal(waiting, codes)


@pytest.mark.parametrize("rows", FORMS.values(), ids=FORMS)
def test_rows_of_a_table_are_exact(rows: QuantisedRows) -> None:
    weight = on_device(from_rows([rows], LAYOUTS["table"], jnp.dtype("bfloat16")))
    outputs = np.array([7, 23, 7])
    taken = weight.take(jnp.asarray(outputs))  # not compiled, which may contract products and sums
    np.testing.assert_array_equal(taken, rows.dequantised()[outputs])


def test_a_tied_table_takes_rows_and_multiplies() -> None:
    rows, dtype = FORMS["4 bits"], jnp.dtype("float32")
    layouts = LAYOUTS["table"], LAYOUTS["matrix"]
    tied = TiedTable(*(on_device(from_rows([rows], layout, dtype)) for layout in layouts))
    x = activations(3)
    np.testing.assert_array_equal(tied.take(jnp.array([1])), rows.dequantised()[[1]])
    assert np.abs(packed.matmul(x, tied) - right(x, rows)).max() < 1e-4


@pytest.mark.parametrize("ordered", [False, True])
def test_the_weight_at_an_index_of_a_stack(ordered: bool) -> None:
    order = np.random.default_rng(4).permutation(INPUTS).astype(np.int32) if ordered else None
    stack = [rows_of(4, 32, seed, order=order if seed else None) for seed in range(3)]
    layout = WeightLayout((2, 12), lead=1, stack=True)
    weight = on_device(from_rows(stack, layout, jnp.dtype("float32")))
    x = activations(2)
    for index, rows in enumerate(stack):
        expected = right(x, rows).reshape(2, 2, 12)
        actual = jax.jit(lambda x, w, index: matmul(x, entry(w, index)))(x, weight, index)
        assert np.abs(actual - expected).max() < 1e-5 * np.abs(expected).max()


@pytest.mark.parametrize("rows", [FORMS["4 bits"], FORMS["8 bits, one scale"]], ids=["groups", "one scale"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_row_has_the_same_bits_whatever_the_others_are(rows: QuantisedRows, dtype: str) -> None:
    weight = on_device(from_rows([rows], LAYOUTS["matrix"], jnp.dtype(dtype)))
    x = activations(40)
    product = jax.jit(matmul)
    alone = [product(x[index : index + 1], weight)[0] for index in (0, 9, 39)]
    np.testing.assert_array_equal(product(x, weight)[np.array([0, 9, 39])], alone)


def test_inputs_that_are_padded_to_whole_groups_count_as_zeros() -> None:
    w = np.random.default_rng(5).standard_normal((OUTPUTS, 40)).astype(np.float32)
    rows = round_rows(w, 4)
    weight = on_device(from_rows([rows], LAYOUTS["matrix"], jnp.dtype("float32"), 40))
    x = activations(3)[:, :40]
    assert np.abs(matmul(x, weight) - x @ rows.dequantised()[:, :40].T).max() < 1e-4


def test_rounding_to_8_bits_is_off_by_at_most_half_a_step() -> None:
    w = np.random.default_rng(6).standard_normal((OUTPUTS, INPUTS)).astype(np.float32)
    rows = round_outputs(w)
    steps = np.abs(w).max(axis=1, keepdims=True) / 127
    assert (np.abs(rows.dequantised() - w) <= steps / 2 * 1.001).all()
    assert rows.codes.min() >= 1  # symmetric: -127 is the least


@pytest.mark.parametrize("split", ["none", "inputs", "outputs"])
@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
@pytest.mark.parametrize("rows", FORMS.values(), ids=FORMS)
def test_shapes_without_arrays_are_those_of_the_arrays(rows: QuantisedRows, layout: WeightLayout, split: Any) -> None:
    layout = replace(layout, split=split, shards=2)
    arrays, shapes = (make([rows], layout, jnp.dtype("bfloat16")) for make in (from_rows, shapes_of_rows))
    assert jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), arrays) == jax.tree.map(
        lambda leaf: (leaf.shape, leaf.dtype), shapes
    )
    assert jax.tree.structure(arrays) == jax.tree.structure(arrays.partition("tensor"))


def test_devices_get_whole_groups_or_nothing() -> None:
    inputs = WeightLayout((OUTPUTS,), split="inputs", shards=8)
    assert splits_groups(FORMS["4 bits"], inputs)  # four groups
    assert not splits_groups(FORMS["4 bits"], replace(inputs, shards=4))
    assert not splits_groups(FORMS["4 bits"], replace(inputs, split="outputs"))
    assert not splits_groups(FORMS["8 bits, one scale"], inputs)  # each device scales its own sums
    assert splits_groups(FORMS["4 bits, another order of inputs"], replace(inputs, shards=2))
