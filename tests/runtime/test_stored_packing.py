"""Weights that are stored as quantised rows compute what their dequantised form computes, without being widened."""

from __future__ import annotations

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxchat.cache import cache_folder
from jaxchat.checkpoints.huggingface import Piece
from jaxchat.checkpoints.tensor_slices import TensorSlice, joined_matrices, matrix, stacked, whole
from jaxchat.kernels.matmul.grouped import GroupedWeight, native_grouped
from jaxchat.kernels.matmul.native import native_matmuls
from jaxchat.kernels.matmul.packed import JoinedWeight, PackedWeight, matmul, matmul_entry
from jaxchat.models.param_specs import ParamSpec
from jaxchat.quantised import Factors, QuantisedRows
from jaxchat.runtime.stored_packing import PanelRows, StoredPacking

INPUTS = 96


def rows_of(outputs: int, bits: int = 4, seed: int = 0, inputs: int = INPUTS) -> QuantisedRows:
    rng = np.random.default_rng(seed)
    codes = rng.integers(0, 2**bits, (outputs, inputs), np.uint8)
    scale = Factors(rng.standard_normal((outputs, inputs // 32)).astype(np.float16))
    return QuantisedRows(codes, bits, 32, scale, zero=2 ** (bits - 1))


def ordered(rows: QuantisedRows, seed: int) -> QuantisedRows:
    """Returns the rows with their inputs in an order that the seed decides."""
    return replace(rows, order=np.random.default_rng(seed).permutation(rows.shape[1]).astype(np.int32))


def spec(*shape: int, contracted: tuple[int, ...] = (0,), axes: str | None = None) -> ParamSpec:
    names = (axes, *[None] * (len(shape) - 1))
    return ParamSpec(shape=shape, axes=names, init=jax.nn.initializers.zeros, contracted=contracted)


@pytest.fixture(params=["native", ""])
def packing(request: pytest.FixtureRequest) -> StoredPacking:
    if not request.param:
        return StoredPacking(PanelRows("float32"))
    return StoredPacking(PanelRows("float32", native_grouped(cache_folder()), native_matmuls(cache_folder())))


def dense(pieces: list[Piece], shape: tuple[int, ...]) -> np.ndarray:
    """Assembles the parameter as for products of plain arrays."""
    array = np.empty(shape, np.float32)
    for part, rows in pieces:
        numbers = rows.dequantised() if isinstance(rows, QuantisedRows) else rows
        array[part.place] = part.from_stored(numbers)
    return array


def activations(rows: int) -> np.ndarray:
    """Returns activations that rounding to 8 bits does not change, whatever the order of inputs."""
    return np.random.default_rng(9).choice(np.float32([-127, 127]), (rows, INPUTS))


def agrees(packed: PackedWeight | None, array: np.ndarray) -> None:
    assert packed is not None
    x = activations(5)
    right = np.tensordot(x, array.reshape(INPUTS, -1), 1).reshape(5, *array.shape[1:])
    actual = jax.jit(matmul)(x, packed)
    assert np.abs(actual - right).max() < 1e-5 * np.abs(right).max()


def pieces_of(slices: tuple[TensorSlice, ...], *bits: int) -> list[Piece]:
    return [
        (part, rows_of(part.stored_shape[0], b, seed)) for seed, (part, b) in enumerate(zip(slices, bits, strict=True))
    ]


QKV = (INPUTS, 2, 5, 8)  # two KV heads, each with three heads of queries, a key and a value


@pytest.mark.parametrize("bits", [(4, 4, 4), (5, 5, 8)])
def test_queries_keys_and_values_get_their_places(packing: StoredPacking, bits: tuple[int, ...]) -> None:
    pieces = pieces_of(joined_matrices("qkv", QKV, 2, (3, 1, 1)), *bits)
    packed = packing.pack(spec(*QKV), pieces)
    assert isinstance(packed, GroupedWeight if len(set(bits)) == 1 else JoinedWeight)
    agrees(packed, dense(pieces, QKV))
    assert packing.bits == set(bits)


def test_a_part_that_is_not_quantised_stays_so(packing: StoredPacking) -> None:
    pieces = pieces_of(joined_matrices("qkv", QKV, 2, (3, 1, 1)), 4, 4, 4)
    values = np.random.default_rng(5).standard_normal((16, INPUTS)).astype(np.float16)
    pieces[2] = pieces[2][0], values
    packed = packing.pack(spec(*QKV), pieces)
    if packed is None:  # by XLA, all of it is then widened
        assert packing.bits == set()
    else:
        agrees(packed, dense(pieces, QKV))


@pytest.mark.parametrize("seeds", [(1, 1, 1), (1, 1, 2), (1, 1, None)])
def test_parts_with_one_order_of_inputs_are_joined(packing: StoredPacking, seeds: tuple[int | None, ...]) -> None:
    pieces = pieces_of(joined_matrices("qkv", QKV, 2, (3, 1, 1)), 4, 4, 4)
    pieces = [
        (part, rows if seed is None else ordered(rows, seed)) for (part, rows), seed in zip(pieces, seeds, strict=True)
    ]
    packed = packing.pack(spec(*QKV), pieces)
    assert isinstance(packed, GroupedWeight if len(set(seeds)) == 1 else JoinedWeight)
    agrees(packed, dense(pieces, QKV))


def test_several_axes_of_inputs(packing: StoredPacking) -> None:
    shape = (2, 3, 16, 10)
    pieces = pieces_of(matrix("o", shape, 3), 8)
    agrees(packing.pack(spec(*shape, contracted=(0, 1, 2)), pieces), dense(pieces, shape).reshape(INPUTS, 10))


@pytest.mark.parametrize("seed", [None, 1])
def test_a_table_gives_rows_and_products(packing: StoredPacking, seed: int | None) -> None:
    shape = (50, INPUTS)
    pieces = pieces_of(whole("embed", shape), 5)
    if seed:
        pieces = [(part, ordered(rows_of(50, 5), seed)) for part, _ in pieces]
    packed = packing.pack(spec(*shape, contracted=(1,), axes="vocab"), pieces)
    assert isinstance(packed, GroupedWeight)
    agrees(packed, dense(pieces, shape).T)
    np.testing.assert_array_equal(packed.take(jnp.array([7, 49])), dense(pieces, shape)[[7, 49]])


@pytest.mark.parametrize("ordered_experts", [0, 2, 3])
def test_experts_are_a_stack_and_may_order_their_inputs(packing: StoredPacking, ordered_experts: int) -> None:
    shape = (3, INPUTS, 2, 20)
    slices = stacked([joined_matrices(("gate", "up"), shape[1:], 1, (1, 1)) for _ in range(3)])
    pieces = pieces_of(slices, *[6] * 6)
    pieces = [
        (part, ordered(rows, index // 2) if index // 2 < ordered_experts else rows)
        for index, (part, rows) in enumerate(pieces)
        if isinstance(rows, QuantisedRows)
    ]
    packed = packing.pack(spec(*shape, contracted=(1,), axes="experts"), pieces)
    assert isinstance(packed, GroupedWeight)
    array = dense(pieces, shape)
    x = activations(2)
    for index in range(3):
        right = np.tensordot(x, array[index], 1)
        assert np.abs(jax.jit(matmul_entry)(x, packed, index) - right).max() < 1e-5 * np.abs(right).max()


def test_experts_whose_parts_differ_in_their_order_are_widened(packing: StoredPacking) -> None:
    shape = (2, INPUTS, 2, 20)
    slices = stacked([joined_matrices(("gate", "up"), shape[1:], 1, (1, 1)) for _ in range(2)])
    pieces = [(part, ordered(rows_of(20), index)) for index, part in enumerate(slices)]
    assert packing.pack(spec(*shape, contracted=(1,), axes="experts"), pieces) is None


def test_experts_of_several_forms_are_widened(packing: StoredPacking) -> None:
    shape = (2, INPUTS, 20)
    slices = stacked([matrix("down", shape[1:], 1)] * 2)
    assert packing.pack(spec(*shape, contracted=(1,), axes="experts"), pieces_of(slices, 4, 5)) is None


def test_forms_that_no_kernel_has_are_widened(packing: StoredPacking) -> None:
    shape = (INPUTS, 20)
    [(part, rows)] = pieces_of(matrix("w", shape, 1), 4)
    halves = Factors(np.repeat(rows.scale.outer, 2, axis=1))
    assert packing.pack(spec(*shape), [(part, replace(rows, group=16, scale=halves))]) is None
    assert packing.bits == set()
