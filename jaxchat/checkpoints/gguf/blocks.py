"""Reads rows of GGUF blocks: into floats, or into `QuantisedRows` if they are quantised.

A block holds numbers of one row: their codes, packed, and the f16 scales of the block. Blocks of 256 numbers (the K
types) also hold small whole numbers that scale each group of 16 or 32 numbers. Letters: n rows, k inputs, b blocks of a
row, s bytes.
"""

from __future__ import annotations

from collections.abc import Callable

import ml_dtypes
import numpy as np

from jaxchat.checkpoints.forms import mxfp4
from jaxchat.checkpoints.forms.mxfp4 import BIAS, VALUES
from jaxchat.checkpoints.gguf.tensor_types import TensorType
from jaxchat.errors import ModelError
from jaxchat.quantised import Factors, QuantisedRows

Read = Callable[[np.ndarray], QuantisedRows]
"""`read(blocks)` reads the u8 blocks `[n, b, s]` of rows."""
_PLAIN = {"F32": np.dtype("<f4"), "F16": np.dtype("<f2"), "BF16": np.dtype(ml_dtypes.bfloat16)}
_LARGEST_EXPONENT = 252  # the largest number, 6, is finite in f32 up to this exponent
_AT_ONCE = 1 << 20  # numbers that are decoded at once, which bounds the memory for intermediate results


def is_quantised(kind: TensorType) -> bool:
    """Returns whether `quantised_rows` reads the type."""
    return kind.name in _READERS


def quantised_rows(kind: TensorType, rows: np.ndarray) -> QuantisedRows:
    """Returns rows in their stored precision. Codes are copied. Scales may be views of `rows`.

    Args:
        kind: a type for which `is_quantised` is true.
        rows: the stored bytes, u8 `[n, s]`.

    Raises:
        ModelError: a scale is infinite or not a number, so the file is damaged.
    """
    result = _READERS[kind.name](rows.reshape(len(rows), -1, kind.size))
    if not result.is_finite:
        raise ModelError("a scale is not a finite number")
    return result


def floats(kind: TensorType, rows: np.ndarray) -> np.ndarray:
    """Returns the numbers of rows, `[n, k]`: f16 and bf16 as they are stored, other types in f32.

    Args:
        kind: the type of the rows.
        rows: the stored bytes, u8 `[n, s]`.

    Raises:
        ModelError: a scale is infinite or not a number, so the file is damaged.
    """
    if kind.name in _PLAIN:
        return rows.view(_PLAIN[kind.name])
    decode = _mxfp4 if kind.name == "MXFP4" else _dequantised
    inputs = rows.shape[1] // kind.size * kind.values
    numbers = np.empty((len(rows), inputs), np.float32)
    step = max(1, _AT_ONCE // inputs)
    for start in range(0, len(rows), step):
        numbers[start : start + step] = decode(kind, rows[start : start + step])
    return numbers


def _dequantised(kind: TensorType, rows: np.ndarray) -> np.ndarray:
    return quantised_rows(kind, rows).dequantised()


def _mxfp4(kind: TensorType, rows: np.ndarray) -> np.ndarray:
    blocks = rows.reshape(-1, kind.size)
    scales = np.ldexp(np.float32(1), _exponents(blocks)[:, None] - BIAS)
    return (VALUES[_nibbles(blocks[:, 1:], 16)] * scales).reshape(len(rows), -1)


def _q8_0(blocks: np.ndarray) -> QuantisedRows:
    codes = blocks[..., 2:] ^ np.uint8(128)  # the two's complement of each number, shifted to 0 .. 255
    return _rows(codes, 8, 32, _halves(blocks, 0), zero=128)


def _q4_0(blocks: np.ndarray) -> QuantisedRows:
    return _rows(_nibbles(blocks[..., 2:], 16), 4, 32, _halves(blocks, 0), zero=8)


def _q4_1(blocks: np.ndarray) -> QuantisedRows:
    codes = _nibbles(blocks[..., 4:], 16)
    return _rows(codes, 4, 32, _halves(blocks, 0), minimum=Factors(-_halves(blocks, 1).outer))


def _q5_0(blocks: np.ndarray) -> QuantisedRows:
    codes = _nibbles(blocks[..., 6:], 16) | _fifth_bits(blocks[..., 2:6])
    return _rows(codes, 5, 32, _halves(blocks, 0), zero=16)


def _q5_1(blocks: np.ndarray) -> QuantisedRows:
    codes = _nibbles(blocks[..., 8:], 16) | _fifth_bits(blocks[..., 4:8])
    return _rows(codes, 5, 32, _halves(blocks, 0), minimum=Factors(-_halves(blocks, 1).outer))


def _q4_k(blocks: np.ndarray) -> QuantisedRows:
    scales, minimums = _six_bits(blocks)
    return _rows(_nibbles(blocks[..., 16:], 32), 4, 32, scales, minimum=minimums)


def _q5_k(blocks: np.ndarray) -> QuantisedRows:
    scales, minimums = _six_bits(blocks)
    high = blocks[..., None, 16:48] >> np.arange(8, dtype=np.uint8)[:, None] & 1  # bit i belongs to group i
    codes = _nibbles(blocks[..., 48:], 32) | _flat(high << np.uint8(4))
    return _rows(codes, 5, 32, scales, minimum=minimums)


def _q6_k(blocks: np.ndarray) -> QuantisedRows:
    high = blocks[..., 128:192].reshape(*blocks.shape[:2], 2, 1, 32)  # two bits of each of four groups
    high = high >> np.array([0, 2, 4, 6], np.uint8)[:, None] & 3
    codes = _nibbles(blocks[..., :128], 64) | _flat(high << np.uint8(4))
    inner = blocks[..., 192:208].view(np.int8).reshape(len(blocks), -1)
    return _rows(codes, 6, 16, Factors(_halves(blocks, 104).outer, inner), zero=32)


def _mxfp4_rows(blocks: np.ndarray) -> QuantisedRows:
    codes = mxfp4.CODES[_nibbles(blocks[..., 1:], 16)]
    return mxfp4.quantised_rows(codes.reshape(len(codes), -1), _exponents(blocks))


def _exponents(blocks: np.ndarray) -> np.ndarray:
    """Returns the exponents of blocks in MXFP4, i32 `[...]`. Raises ModelError if a scale is damaged."""
    exponents = blocks[..., 0].astype(np.int32)
    if np.any(exponents > _LARGEST_EXPONENT):
        raise ModelError("a scale is not a finite number, or too large")
    return exponents


_READERS: dict[str, Read] = {
    "Q8_0": _q8_0,
    "Q4_0": _q4_0,
    "Q4_1": _q4_1,
    "Q5_0": _q5_0,
    "Q5_1": _q5_1,
    "Q4_K": _q4_k,
    "Q5_K": _q5_k,
    "Q6_K": _q6_k,
    "MXFP4": _mxfp4_rows,
}


def _rows(
    codes: np.ndarray, bits: int, group: int, scale: Factors, zero: int = 0, minimum: Factors | None = None
) -> QuantisedRows:
    """Makes `QuantisedRows` from the codes of blocks, u8 `[n, b, ...]`. The other arguments are further fields."""
    return QuantisedRows(codes.reshape(len(codes), -1), bits, group, scale, zero, minimum)


def _halves(blocks: np.ndarray, index: int) -> Factors:
    """Returns the f16 number in the bytes `2 * index` and `2 * index + 1` of each block, `[n, b]`."""
    start = 2 * index
    return Factors(np.ascontiguousarray(blocks[..., start : start + 2]).view("<f2")[..., 0])


def _nibbles(packed: np.ndarray, span: int) -> np.ndarray:
    """Returns the codes in m bytes, u8 `[..., 2 m]`.

    For every `span` bytes, the codes in the low halves come before the codes in the high halves.
    """
    spans = packed.reshape(*packed.shape[:-1], -1, 1, span)
    return ((spans >> np.array([0, 4], np.uint8)[:, None]) & np.uint8(15)).reshape(*packed.shape[:-1], -1)


def _fifth_bits(packed: np.ndarray) -> np.ndarray:
    """Unpacks 4 bytes to 32 bits, u8 `[..., 32]`, and shifts each bit to the place of the fifth bit of a code."""
    return np.unpackbits(packed, axis=-1, bitorder="little") << np.uint8(4)


def _flat(groups: np.ndarray) -> np.ndarray:
    """Joins all axes of `[n, b, ...]` after the second."""
    return groups.reshape(*groups.shape[:2], -1)


def _six_bits(blocks: np.ndarray) -> tuple[Factors, Factors]:
    """Returns the scales and minimums of the types Q4_K and Q5_K.

    A block has 8 scales and 8 minimums. Each has 6 bits, and all together have 12 bytes.

    Args:
        blocks: the blocks of each row, u8 `[n, b, s]`.
    """
    scales, minimums, rest = np.split(blocks[..., 4:16], 3, axis=-1)
    low, high = np.uint8(15), np.uint8(48)
    inner = (
        np.concatenate([scales & 63, rest & low | scales >> 2 & high], axis=-1),
        np.concatenate([minimums & 63, rest >> 4 | minimums >> 2 & high], axis=-1),
    )
    outer = (_halves(blocks, index).outer for index in range(2))
    each = zip(outer, inner, strict=True)
    first, second = (Factors(half, numbers.view(np.int8).reshape(len(blocks), -1)) for half, numbers in each)
    return first, second
