"""compressed-tensors, the forms of llm-compressor: integers packed into words, plain integers, and 8-bit floats.

For a weight of n outputs and k inputs, in groups of g inputs:

- Packed integers are codes from 0 in `weight_packed`, i32 `[n, ceil(k * bits / 32)]`, lowest bits first. `weight_shape`
  is (n, k).
- Plain integers are stored as `weight`, i8 `[n, k]`, and floats as `weight`, E4M3 `[n, k]`.
- Integers have `weight_scale`, `[n, k / g]`. If a row is one group, one scale may serve all rows.
- Floats have one `weight_scale`, one for each row, or one for each block of rows and columns.
- Integers that are not symmetric have `weight_zero_point`: i8 with the axes of the scales, or i32
  `[ceil(n * bits / 32), k / g]`, where a word holds the zero points of several outputs.
- `weight_g_idx`, i32 `[k]`, has the group of each input if the inputs of a group are not neighbours.

Scales of activations are not read, because the kernels compute their own.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np

from jaxchat.arithmetic import cdiv
from jaxchat.checkpoints.forms.compressed_schemes import (
    FLOATS,
    METHOD,
    PACKED,
    Scheme,
    planned_scheme,
    read_schemes,
    scheme_of,
)
from jaxchat.checkpoints.forms.parts import (
    SCALES,
    Parts,
    QuantisedMatrix,
    factors,
    group_size,
    imagined_matrix,
    input_order,
    row_factors,
    spread,
    unpacked,
    zero_points,
)
from jaxchat.checkpoints.forms.scaled_floats import ScaledFloats
from jaxchat.checkpoints.stored_form import StoredTensor
from jaxchat.errors import ModelError
from jaxchat.quantised import QuantisedRows

_ENDS = ("weight_packed", "weight_scale")  # of names: a weight with one of them is stored quantised
_OPTIONAL = (
    "weight_zero_point",
    "weight_g_idx",
    "input_scale",
    "input_zero_point",
    "output_scale",
    "output_zero_point",
)
_WORD = 32  # bits


class CompressedMatrix(QuantisedMatrix):
    """A weight that is stored as integers, packed or not."""

    def __init__(self, parts: Parts, scheme: Scheme) -> None:
        """Wraps the stored parts. Raises ModelError if their shapes and dtypes do not fit the scheme."""
        self._bits, self._packed = scheme.bits, scheme.form == PACKED
        shape = _packed_shape(parts, scheme.bits) if self._packed else parts.matrix("weight", "I8")
        super().__init__(shape, group_size(shape[1], scheme.group_size))
        self._grid = shape[0], shape[1] // self.group
        self._codes = parts.take("weight_packed", "I32") if self._packed else parts.take("weight", "I8")
        self._scales = row_factors(parts, "weight_scale", shape, self.group, *SCALES)
        self._zeros = self._zero_part(parts) if "weight_zero_point" in parts else None
        self._g_idx = parts.take("weight_g_idx", "I32", shape=shape[1:]) if "weight_g_idx" in parts else None

    def rows(self, start: int, stop: int) -> QuantisedRows:
        """Reads the rows from `start` to `stop - 1`. Raises ModelError if codes, zero points or groups are damaged."""
        stored = self._codes[start:stop]
        codes = unpacked(stored, self._bits)[:, : self.shape[1]] if self._packed else self._unsigned(stored)
        order = self._order()
        return QuantisedRows(
            np.ascontiguousarray(codes if order is None else codes[:, order]),
            self._bits,
            self.group,
            factors(spread(self._scales, self._grid)[start:stop]),
            self._zero(start, stop),
            order=order,
        )

    def _zero_part(self, parts: Parts) -> Any:
        """Returns the slice of the stored zero points: I8, or I32 words that hold several zero points each."""
        if parts.take("weight_zero_point", "I8", "I32").get_dtype() == "I8":
            return row_factors(parts, "weight_zero_point", self.shape, self.group, "I8")
        rows, groups = self._grid
        return parts.take("weight_zero_point", "I32", shape=(cdiv(rows * self._bits, _WORD), groups))

    def _zero(self, start: int, stop: int) -> int | np.ndarray:
        """Returns the zero points of rows `start` to `stop - 1` as codes, u8 `[rows, k / g]`.

        If all rows of the weight have the same zero point, returns that zero point instead.
        """
        if self._zeros is None:
            return int(2 ** (self._bits - 1))
        if self._zeros.get_dtype() == "I8":
            return zero_points(self._unsigned(spread(self._zeros, self._grid)), start, stop)
        return zero_points(unpacked(self._zeros[:].T, self._bits).T[: self.shape[0]], start, stop)

    def _unsigned(self, numbers: np.ndarray) -> np.ndarray:
        """Returns s8 numbers of any shape as codes from 0, u8. Raises ModelError if a number does not fit."""
        codes = numbers.view(np.uint8) + np.uint8(2 ** (self._bits - 1))
        if self._bits < 8 and (codes >= 2**self._bits).any():
            raise ModelError(f"a number does not fit into the {self._bits} bits that config.json says")
        return codes

    def _order(self) -> np.ndarray | None:
        groups = None if self._g_idx is None else self._g_idx[:]
        if groups is None or (groups == -1).all():  # as if it were not stored
            return None
        return input_order(groups, self._grid[1], "weight_g_idx")


def _packed_shape(parts: Parts, bits: int) -> tuple[int, int]:
    """Returns the shape of a packed weight. Raises ModelError if the stored words do not hold this shape."""
    rows, words = parts.matrix("weight_packed", "I32")
    outputs, inputs = parts.take("weight_shape", "I32", "I64", shape=(2,))[:].tolist()
    if outputs != rows or inputs < 1 or words != cdiv(inputs * bits, _WORD):
        raise ModelError(
            f"weight_packed has shape {(rows, words)}, which does not hold {bits} bits for each entry of weight_shape "
            f"{(outputs, inputs)}"
        )
    return rows, inputs


class CompressedTensorsForm:
    """The stored form compressed-tensors."""

    def check(self, quantization: Mapping[str, Any]) -> None:
        """Raises ModelError if a setting is missing or not supported."""
        read_schemes(quantization)

    def find(self, names: Collection[str], quantization: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
        """Returns the names of the stored parts of each weight in this form, by the weight's name.

        A weight is in this form if it has `weight_packed` or `weight_scale`.
        """
        if quantization.get("quant_method") != METHOD:
            return {}
        stems = {name.removesuffix(end) for name in names for end in _ENDS if name.endswith(f".{end}")}
        return {f"{stem}weight": self._parts(stem, names, quantization) for stem in sorted(stems)}

    def open(self, name: str, parts: Mapping[str, Any], quantization: Mapping[str, Any]) -> StoredTensor:
        """Returns a weight.

        Raises:
            ModelError: a setting is missing or not supported, or the shapes or dtypes of the parts do not fit the
                settings.
        """
        stem = name.removesuffix("weight")
        stored, scheme = Parts(stem, parts), scheme_of(stem.removesuffix("."), quantization)
        if scheme.form != FLOATS:
            return CompressedMatrix(stored, scheme)
        return ScaledFloats(stored, "weight", "weight_scale", scheme.block)

    def imagined(
        self, name: str, shape: tuple[int, ...], quantization: Mapping[str, Any], scale: str
    ) -> QuantisedRows | None:
        """Returns rows of zeros in the stored form of a weight, for planning.

        Returns None if no scheme covers the weight, if it is stored as floats, or if `imagined_matrix` returns None.

        Raises:
            ModelError: a setting is missing or not supported, or does not fit the shape.
        """
        module = name.removesuffix(".weight")
        scheme = planned_scheme(module, quantization)
        if scheme is None or scheme.form == FLOATS:
            return None
        size, zeros = scheme.group_size, not scheme.symmetric
        return imagined_matrix(name, shape, scheme.bits, size, scale, zeros=zeros, ordered=scheme.ordered)

    def _parts(self, stem: str, names: Collection[str], quantization: Mapping[str, Any]) -> tuple[str, ...]:
        scheme = scheme_of(stem.removesuffix("."), quantization)
        ends = ["weight_packed", "weight_shape"] if scheme.form == PACKED else ["weight"]
        needed = {"weight_zero_point": not scheme.symmetric, "weight_g_idx": scheme.ordered}
        optional = [end for end in _OPTIONAL if needed.get(end) or f"{stem}{end}" in names]
        return tuple(f"{stem}{end}" for end in [*ends, "weight_scale", *optional])


COMPRESSED_TENSORS = CompressedTensorsForm()
