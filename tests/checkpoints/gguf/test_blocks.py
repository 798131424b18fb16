"""Blocks of every type against the `gguf` package, bit for bit."""

from __future__ import annotations

import gguf
import numpy as np
import pytest
from gguf import GGMLQuantizationType

from jaxchat.checkpoints.gguf.blocks import floats, is_quantised, quantised_rows
from jaxchat.checkpoints.gguf.tensor_types import tensor_type
from jaxchat.errors import ModelError

PLAIN = ("F32", "F16", "BF16")
QUANTISED = ("Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q4_K", "Q5_K", "Q6_K")
SCALES = {"Q4_1": 2, "Q5_1": 2, "Q4_K": 2, "Q5_K": 2}  # f16 numbers at the start of a block, where there are two
INPUTS = 512


def number_of(name: str) -> int:
    return GGMLQuantizationType[name].value


def random_blocks(name: str, rows: int = 6) -> np.ndarray:
    """Random bytes whose scales are finite: of both signs, subnormal and zero."""
    kind = tensor_type(number_of(name))
    rng = np.random.default_rng(0)
    blocks = rng.integers(0, 256, (rows, INPUTS // kind.values, kind.size), np.uint8)
    if name in QUANTISED:
        bits = rng.integers(0, 0x7C00, (*blocks.shape[:2], 2), np.uint16)  # below infinity
        bits[0, 0] = 0, 0x8000
        bits[1] &= 0x83FF
        bits |= rng.integers(0, 2, bits.shape, np.uint16) << 15
        places = [-2] if name == "Q6_K" else [0, 2][: SCALES.get(name, 1)]
        for index, place in enumerate(places):
            blocks[..., place : place + 2 if place + 2 else None] = bits[..., index : index + 1].view(np.uint8)
    return blocks.reshape(rows, -1)


@pytest.mark.parametrize("name", QUANTISED)
def test_random_bytes_decode_to_the_bits_of_gguf(name: str) -> None:
    blocks = random_blocks(name)
    expected = gguf.dequantize(blocks, GGMLQuantizationType[name])
    actual = floats(tensor_type(number_of(name)), blocks)
    np.testing.assert_array_equal(actual.view(np.uint32), expected.view(np.uint32))


def test_random_mxfp4_decodes_to_the_numbers_of_gguf() -> None:
    blocks = random_blocks("MXFP4")
    blocks[:, ::17] = np.random.default_rng(1).integers(1, 253, blocks[:, ::17].shape)  # which f32 holds exactly
    expected = gguf.dequantize(blocks, GGMLQuantizationType.MXFP4)  # without the sign of zero, which the format has
    kind = tensor_type(number_of("MXFP4"))
    np.testing.assert_array_equal(floats(kind, blocks), expected)
    np.testing.assert_array_equal(quantised_rows(kind, blocks).dequantised(), expected)


@pytest.mark.parametrize("name", ["Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1"])
def test_quantised_numbers_decode_to_the_bits_of_gguf(name: str) -> None:
    values = np.random.default_rng(2).normal(size=(4, INPUTS)).astype(np.float32)
    blocks = gguf.quantize(values, GGMLQuantizationType[name])
    actual = floats(tensor_type(number_of(name)), blocks)
    np.testing.assert_array_equal(actual, gguf.dequantize(blocks, GGMLQuantizationType[name]))
    assert np.abs(actual - values).max() < 0.4


@pytest.mark.parametrize("name", PLAIN)
def test_plain_types_are_read_as_stored(name: str) -> None:
    values = np.random.default_rng(3).normal(size=(4, INPUTS)).astype(np.float32)
    blocks = np.ascontiguousarray(gguf.quantize(values, GGMLQuantizationType[name])).view(np.uint8)
    actual = floats(tensor_type(number_of(name)), blocks)
    assert actual.dtype.itemsize == {"F32": 4}.get(name, 2)
    stored = blocks if name == "BF16" else blocks.view("<f4" if name == "F32" else "<f2")
    expected = gguf.dequantize(stored, GGMLQuantizationType[name])
    np.testing.assert_array_equal(actual.astype(np.float32), expected)
    assert not is_quantised(tensor_type(number_of(name)))


@pytest.mark.parametrize("name", QUANTISED)
def test_rows_keep_codes_and_scales_apart(name: str) -> None:
    rows = quantised_rows(tensor_type(number_of(name)), random_blocks(name))
    assert rows.shape == (6, INPUTS) and rows.codes.dtype == np.uint8
    assert rows.codes.max() == 2**rows.bits - 1
    picked = np.array([4, 0, 2])
    np.testing.assert_array_equal(rows[picked].dequantised(), rows.dequantised()[picked])
    np.testing.assert_array_equal(rows[1:3].dequantised(), rows.dequantised()[1:3])


@pytest.mark.parametrize("exponent", [253, 255])
def test_scales_of_mxfp4_that_overflow_are_refused(exponent: int) -> None:
    blocks = random_blocks("MXFP4")
    blocks[:, ::17] = 120
    blocks[2, 17] = exponent
    with pytest.raises(ModelError, match="a scale is not a finite number, or too large"):
        floats(tensor_type(number_of("MXFP4")), blocks)


@pytest.mark.parametrize("bits", [0x7C00, 0xFC00, 0x7E00])
def test_scales_that_are_not_finite_are_refused(bits: int) -> None:
    blocks = random_blocks("Q4_K")
    blocks[1, 2:4] = np.array([bits], np.uint16).view(np.uint8)  # the minimums' scale
    with pytest.raises(ModelError, match="a scale is not a finite number"):
        floats(tensor_type(number_of("Q4_K")), blocks)


@pytest.mark.parametrize(
    "kind", set(GGMLQuantizationType) - {GGMLQuantizationType[name] for name in (*PLAIN, *QUANTISED, "MXFP4")}
)
def test_other_types_are_refused_by_name(kind: GGMLQuantizationType) -> None:
    with pytest.raises(ModelError, match=rf"type {kind.name} is not supported; supported: F32, "):
        tensor_type(kind.value)


@pytest.mark.parametrize("kind", [*(GGMLQuantizationType[name] for name in (*PLAIN, *QUANTISED, "MXFP4"))])
def test_sizes_of_blocks_are_those_of_gguf(kind: GGMLQuantizationType) -> None:
    known = tensor_type(kind.value)
    assert (known.name, (known.values, known.size)) == (kind.name, gguf.GGML_QUANT_SIZES[kind])
