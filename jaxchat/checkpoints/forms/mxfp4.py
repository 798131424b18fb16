"""Decodes MXFP4 (OCP MX 1.0), the format of gpt-oss: numbers of 4 bits in blocks of 32 that share a power of two.

A tensor `[E, in, out]` is stored as `.._blocks` u8 `[E, out, in / 32, 16]` and `.._scales` u8 `[E, out, in / 32]`. Each
byte of the blocks holds two numbers, the first one in its lower bits. Reading decodes to f32, and can read single
entries of the axis E. Twice each number is an integer from -12 to 12, which a code of 5 bits holds exactly.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from jaxchat.errors import ModelError
from jaxchat.quantised import Factors, QuantisedRows, imagined_rows

BLOCKS, SCALES = "_blocks", "_scales"
_POSITIVE = np.array([0, 0.5, 1, 1.5, 2, 3, 4, 6], np.float32)
VALUES = np.concatenate([_POSITIVE, -_POSITIVE])
"""The number of each code of 4 bits, f32 `[16]`."""
_PAIRS = np.stack([VALUES[np.arange(256) & 15], VALUES[np.arange(256) >> 4]], axis=-1)  # the two numbers in each byte
BIAS = 127  # of the exponents
_NOT_A_NUMBER = 255  # among the exponents
_ZERO, _BITS, _GROUP = 12, 5, 32
CODES = (2 * VALUES + _ZERO).astype(np.uint8)
"""The code of `quantised_rows` for each code of 4 bits, u8 `[16]`."""
_CODE_PAIRS = (2 * _PAIRS + _ZERO).astype(np.uint8)


class Mxfp4:
    """A tensor that is stored as blocks and scales. It can be read like the result of safetensors' `get_slice`."""

    def __init__(self, blocks: Any, scales: Any) -> None:
        """Wraps the slices of blocks and scales. Raises ModelError if their shapes or dtypes do not match."""
        self._blocks, self._scales = blocks, scales
        shape = blocks.get_shape()
        if {blocks.get_dtype(), scales.get_dtype()} != {"U8"}:
            raise ModelError(f"blocks have dtype {blocks.get_dtype()}, scales {scales.get_dtype()}, expected U8")
        if len(shape) != 4 or shape[-1] != 16 or scales.get_shape() != shape[:-1]:
            raise ModelError(f"blocks have shape {shape}, scales {scales.get_shape()}, which do not fit each other")

    def get_shape(self) -> list[int]:
        """Returns the shape of the decoded tensor."""
        count, outputs, groups, _ = self._blocks.get_shape()
        return [count, 32 * groups, outputs]

    def get_dtype(self) -> str:
        """Returns "BF16", which holds every decoded number exactly, except the very largest and smallest numbers."""
        return "BF16"

    def __getitem__(self, index: Any) -> np.ndarray:
        """Returns the entries in the slice `index` of the first axis, decoded, f32 `[entries, in, out]`."""
        blocks, exponents = self._read(index)
        numbers = _PAIRS[blocks].reshape(*blocks.shape[:-1], -1)
        numbers *= np.ldexp(np.float32(1), exponents - BIAS)[..., None]
        return np.swapaxes(numbers.reshape(*blocks.shape[:2], -1), 1, 2)

    def quantised(self, index: slice) -> QuantisedRows | None:
        """Returns the matrix of the one entry in the slice `index`, with a row for each output.

        Returns None if the slice does not have exactly one entry.
        """
        blocks, exponents = self._read(index)
        if len(blocks) != 1:
            return None
        return quantised_rows(_CODE_PAIRS[blocks[0]].reshape(blocks.shape[1], -1), exponents[0])

    def _read(self, index: slice) -> tuple[np.ndarray, np.ndarray]:
        """Returns the blocks and exponents of some entries.

        Returns:
            u8 `[entries, out, in / 32, 16]` and i32 `[entries, out, in / 32]`.

        Raises:
            ModelError: a scale is not a number.
        """
        blocks, scales = self._blocks[index], self._scales[index]
        if (scales == _NOT_A_NUMBER).any():
            raise ModelError("a scale is not a number")
        return blocks, scales.astype(np.int32)


def quantised_rows(codes: np.ndarray, exponents: np.ndarray) -> QuantisedRows:
    """Returns numbers of MXFP4 as rows for n outputs and k inputs, `[n, k]`, without loss.

    Args:
        codes: u8 `[n, k]`, 2 * number + 12, see `CODES`.
        exponents: the stored scales, i32 `[n, k / 32]`: exponents of 2, plus `BIAS`.
    """
    scales = Factors(np.ldexp(np.float32(1), exponents - BIAS - 1))
    return QuantisedRows(codes, _BITS, _GROUP, scales, _ZERO, e2m1=True)


class Mxfp4Form:
    """The stored form MXFP4: each tensor is stored as blocks of numbers and the scales of the blocks."""

    def find(self, names: Collection[str], quantization: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
        """Returns the names of the blocks and the scales of each tensor, by the tensor's name.

        A tensor is in this form if a stored name has the suffix `_blocks`.
        """
        tensors = sorted(name.removesuffix(BLOCKS) for name in names if name.endswith(BLOCKS))
        return {name: (f"{name}{BLOCKS}", f"{name}{SCALES}") for name in tensors}

    def open(self, name: str, parts: Mapping[str, Any], quantization: Mapping[str, Any]) -> Mxfp4:
        """Returns the tensor `name`, whose `parts` are its blocks and scales.

        Raises:
            ModelError: the shapes or dtypes of the parts do not match.
        """
        return Mxfp4(parts[f"{name}{BLOCKS}"], parts[f"{name}{SCALES}"])

    def imagined(
        self, name: str, shape: tuple[int, ...], quantization: Mapping[str, Any], scale: str
    ) -> QuantisedRows | None:
        """Returns rows of zeros for planning, in the stored form of one matrix of a stack `[E, in, out]`.

        Tensors with three axes and the suffix `_proj` are stored in this form. Returns None for any other tensor.
        """
        if len(shape) != 3 or not name.endswith("_proj"):
            return None
        return replace(imagined_rows((shape[2], shape[1]), _BITS, _GROUP, scale="float32"), zero=_ZERO, e2m1=True)


MXFP4 = Mxfp4Form()
