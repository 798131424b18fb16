"""AWQ: codes of 4 bits in groups of inputs, in the packing "gemm" of AutoAWQ.

A weight `[n, k]` is stored transposed: `qweight` i32 `[k, n / 8]`, `qzeros` i32 `[k / g, n / 8]` and `scales` `[k / g,
n]`, for groups of g inputs. A word holds eight neighbouring outputs. From its lowest bits on, these are outputs 0, 2,
4, 6, 1, 3, 5 and 7.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from jaxchat.checkpoints.forms.parts import (
    SCALES,
    Parts,
    QuantisedMatrix,
    factors,
    group_size,
    imagined_matrix,
    packed_parts,
    quantization_keys,
    unpacked,
    zero_points,
)
from jaxchat.quantised import QuantisedRows

METHOD = "awq"
_BITS, _PER_WORD, _MIDDLE = 4, 8, 8
_PLACES = np.array([0, 4, 1, 5, 2, 6, 3, 7])  # in a word, of its eight outputs


@dataclass(frozen=True)
class Settings:
    """The settings in `quantization_config` that say how weights are stored."""

    group_size: int
    zeros: bool  # whether zero points are always stored; without them they are 8

    @classmethod
    def read(cls, quantization: Mapping[str, Any]) -> Settings:
        """Reads the settings. Raises ModelError if a setting is missing or not supported."""
        keys = quantization_keys(quantization)
        bits = "w_bit" if keys.has("w_bit") else "bits"
        group = "q_group_size" if keys.has("q_group_size") else "group_size"
        if keys.integer(bits) != _BITS:
            raise keys.error(bits, "must be 4")
        size = keys.integer(group, 128, least=-1)
        if not size:
            raise keys.error(group, "must be -1 or at least 1")
        if keys.word("version", "gemm").lower() != "gemm":
            raise keys.error("version", 'must be "gemm", the packings for other kernels are not read')
        return cls(size, keys.flag("zero_point", True))


class AwqMatrix(QuantisedMatrix):
    """A weight that is stored as AWQ."""

    def __init__(self, parts: Parts, settings: Settings) -> None:
        """Wraps the stored parts. Raises ModelError if their shapes and dtypes do not fit the settings."""
        inputs, words = parts.matrix("qweight", "I32")
        outputs = words * _PER_WORD
        super().__init__((outputs, inputs), group_size(inputs, settings.group_size))
        groups = inputs // self.group
        self._qweight = parts.take("qweight", "I32")
        self._scales = parts.take("scales", *SCALES, shape=(groups, outputs))
        self._qzeros = parts.take("qzeros", "I32", shape=(groups, words)) if "qzeros" in parts else None

    def rows(self, start: int, stop: int) -> QuantisedRows:
        """Reads the rows from `start` to `stop - 1`."""
        first, last = start // _PER_WORD, -(-stop // _PER_WORD)
        codes = _outputs(self._qweight[:, first:last])[start - first * _PER_WORD : stop - first * _PER_WORD]
        zeros = _MIDDLE if self._qzeros is None else zero_points(_outputs(self._qzeros[:]), start, stop)
        return QuantisedRows(
            np.ascontiguousarray(codes), _BITS, self.group, factors(self._scales[:, start:stop].T), zeros
        )


def _outputs(words: np.ndarray) -> np.ndarray:
    """Unpacks m rows of w words, i32 `[m, w]`, to codes, u8 `[8 w, m]`, in the order of the outputs."""
    codes = unpacked(words, _BITS).reshape(len(words), -1, _PER_WORD)[:, :, _PLACES]
    return codes.reshape(len(words), -1).T


class AwqForm:
    """The stored form AWQ."""

    def check(self, quantization: Mapping[str, Any]) -> None:
        """Raises ModelError if a setting is missing or not supported."""
        Settings.read(quantization)

    def find(self, names: Collection[str], quantization: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
        """Returns the names of the stored parts of each AWQ weight, by the weight's name.

        An AWQ weight has a `qweight`.
        """
        if quantization.get("quant_method") != METHOD:
            return {}
        always = Settings.read(quantization).zeros
        return packed_parts(names, ("scales",), "qzeros", always=always)

    def open(self, name: str, parts: Mapping[str, Any], quantization: Mapping[str, Any]) -> AwqMatrix:
        """Returns a weight.

        Raises:
            ModelError: a setting is missing or not supported, or the shapes or dtypes of the parts do not fit the
                settings.
        """
        return AwqMatrix(Parts(name.removesuffix("weight"), parts), Settings.read(quantization))

    def imagined(
        self, name: str, shape: tuple[int, ...], quantization: Mapping[str, Any], scale: str
    ) -> QuantisedRows | None:
        """Returns rows of zeros in the stored form of a weight, for planning.

        Returns None for the head, the embedding and modules in `modules_to_not_convert`, or if `imagined_matrix`
        returns None.

        Raises:
            ModelError: a setting is missing or not supported, or does not fit the shape.
        """
        settings = Settings.read(quantization)
        skipped = ("lm_head", "embed_tokens", *quantization_keys(quantization).words("modules_to_not_convert"))
        if any(module in name for module in skipped):
            return None
        return imagined_matrix(name, shape, _BITS, settings.group_size, scale, zeros=settings.zeros)


AWQ = AwqForm()
