"""Code that stored forms share: checked parts of a weight, packed words, and matrices of quantised rows.

Letters: n outputs, k inputs, g inputs in a group.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from jaxchat.errors import ModelError
from jaxchat.models.hf_config import HFConfigReader
from jaxchat.quantised import BLOCK, Factors, QuantisedRows, imagined_rows

SCALES = ("F16", "BF16", "F32")  # dtypes of scales, as safetensors spells them


def quantization_keys(quantization: Mapping[str, Any]) -> HFConfigReader:
    """Returns a reader of the `quantization_config` in `config.json`."""
    return HFConfigReader(quantization, "config.json: quantization_config.")


@dataclass(frozen=True)
class Parts:
    """The stored tensors of one weight. Methods take the end of a tensor's name, which is everything after the stem.

    Attributes:
        stem: the text at the beginning of all names, such as "model.norm.".
        slices: a slice of each tensor by its whole name.
    """

    stem: str
    slices: Mapping[str, Any]

    def __contains__(self, end: str) -> bool:
        return f"{self.stem}{end}" in self.slices

    def matrix(self, end: str, *dtypes: str) -> tuple[int, int]:
        """Returns the shape of a stored matrix.

        Args:
            end: the name after the stem.
            dtypes: the allowed dtypes, as safetensors spells them, such as "F16".

        Raises:
            KeyError: no tensor has this name.
            ModelError: the dtype is not allowed, or the tensor is not a matrix or is empty.
        """
        shape = self.take(end, *dtypes).get_shape()
        if len(shape) != 2 or not all(shape):
            raise ModelError(f"{end} has shape {tuple(shape)}, expected a matrix")
        rows, columns = shape
        return rows, columns

    def take(self, end: str, *dtypes: str, shape: tuple[int, ...] | None = None) -> Any:
        """Returns the slice of a stored tensor.

        Args:
            end: the name after the stem.
            dtypes: the allowed dtypes, as safetensors spells them, such as "F16".
            shape: the required shape; None allows any.

        Raises:
            KeyError: no tensor has this name.
            ModelError: the dtype is not allowed, or the shape is not `shape`.
        """
        part = self.slices[f"{self.stem}{end}"]
        if part.get_dtype() not in dtypes:
            raise ModelError(f"{end} has dtype {part.get_dtype()}, expected {' or '.join(dtypes)}")
        if shape is not None and tuple(part.get_shape()) != shape:
            raise ModelError(f"{end} has shape {tuple(part.get_shape())}, expected {shape}")
        return part


class QuantisedMatrix(ABC):
    """A weight `[n, k]` that is stored as quantised rows.

    It can be read like the result of safetensors' `get_slice`.
    """

    def __init__(self, shape: tuple[int, int], group: int) -> None:
        """Stores the shape (n, k) of the weight, and the number of inputs in a group, which divides k."""
        self.shape, self.group = shape, group

    def get_shape(self) -> list[int]:
        """Returns the shape of the weight."""
        return list(self.shape)

    def get_dtype(self) -> str:
        """Returns "F32", because the numbers are products of codes and scales, computed in f32."""
        return "F32"

    def __getitem__(self, index: slice) -> np.ndarray:
        """Returns the rows in the slice `index` as numbers, f32 `[rows, k]`. Raises ModelError if they are damaged."""
        return self._checked(index).dequantised()

    def quantised(self, index: slice) -> QuantisedRows | None:
        """Returns the rows in the slice `index` as they are stored.

        Returns None if groups are not whole blocks of 32 inputs, which kernels need. Raises ModelError if the rows are
        damaged.
        """
        return None if self.group % BLOCK else self._checked(index)

    @abstractmethod
    def rows(self, start: int, stop: int) -> QuantisedRows:
        """Reads the rows from `start` to `stop - 1`. Raises ModelError if the stored parts are damaged."""

    def _checked(self, index: slice) -> QuantisedRows:
        start, stop, _ = index.indices(self.shape[0])
        rows = self.rows(start, stop)
        if not rows.is_finite:
            raise ModelError("a scale is not a finite number")
        return rows


def group_size(inputs: int, size: int) -> int:
    """Returns the number of inputs in a group.

    Args:
        inputs: number of inputs of the weight.
        size: the setting in `config.json`; -1: all inputs of a row are one group.

    Raises:
        ModelError: `size` does not divide `inputs`.
    """
    group = inputs if size == -1 else size
    if group < 1 or inputs % group:
        raise ModelError(f"group_size is {size}, which does not divide the {inputs} inputs")
    return group


def imagined_matrix(
    name: str, shape: tuple[int, ...], bits: int, size: int, scale: str, *, zeros: bool = False, ordered: bool = False
) -> QuantisedRows | None:
    """Returns rows of zeros in the stored form of a weight, for planning.

    Returns None if the name does not end in ".weight" or the tensor is not a matrix. Also returns None if groups are
    not whole blocks of 32 inputs, because such weights are widened.

    Args:
        name: name of the tensor.
        shape: its shape, `[n, k]` for a matrix.
        bits: bits of a code.
        size: inputs in a group; -1: all inputs of a row are one group.
        scale: dtype of the scales, "float16" or "float32".
        zeros: whether each group has its own zero point.
        ordered: whether a group's inputs are not neighbours.

    Raises:
        ModelError: `size` does not divide the number of inputs.
    """
    if len(shape) != 2 or not name.endswith(".weight"):
        return None
    group = group_size(shape[1], size)
    if group % BLOCK:
        return None
    ordered = ordered and group < shape[1]
    return imagined_rows((shape[0], shape[1]), bits, group, scale=scale, zeros=zeros, ordered=ordered)


def unpacked(words: np.ndarray, bits: int) -> np.ndarray:
    """Returns the codes in words, u8 `[.., w * 32 / bits]`. The first code of a word is in its lowest bits.

    Args:
        words: w words or rows of w words, i32 `[.., w]`.
        bits: bits of a code: 4 or 8.
    """
    octets = np.ascontiguousarray(words.astype("<i4", copy=False)).view(np.uint8)
    if bits == 8:
        return octets
    return np.stack([octets & 15, octets >> 4], axis=-1).reshape(*octets.shape[:-1], -1)


def input_order(groups: np.ndarray, count: int, end: str) -> np.ndarray | None:
    """Returns an order of inputs, i32 `[k]`, in which the inputs of each group are adjacent.

    Returns None if the groups of the inputs ascend already.

    Args:
        groups: the group of each input, i32 `[k]`.
        count: the number of groups, all of one size.
        end: the name of the stored groups, for messages.

    Raises:
        ModelError: a group does not exist, or has more or fewer inputs than other groups.
    """
    if groups.min() < 0 or groups.max() >= count:
        wrong = groups[(groups < 0) | (groups >= count)][0]
        raise ModelError(f"{end} has an input in group {wrong}, but there are {count} groups")
    sizes, expected = np.bincount(groups, minlength=count), len(groups) // count
    if (sizes != expected).any():
        index = int(np.argmax(sizes != expected))
        raise ModelError(f"{end} has {sizes[index]} inputs in group {index}, expected {expected}")
    return None if (np.diff(groups) >= 0).all() else np.argsort(groups, kind="stable").astype(np.int32)


def factors(scales: np.ndarray) -> Factors:
    """Returns scales as `Factors`. Widens bf16 to f32, which is exact.

    Args:
        scales: f16, bf16 or f32 `[n, k / g]`.
    """
    return Factors(np.ascontiguousarray(scales if scales.dtype == np.float16 else scales.astype(np.float32)))


def zero_points(zeros: np.ndarray, start: int, stop: int) -> int | np.ndarray:
    """Returns the zero points of rows `start` to `stop - 1`, u8 `[rows, k / g]`.

    If all of `zeros` are equal, returns one number instead.

    Args:
        zeros: the zero points of all rows, u8 `[n, k / g]`.
        start: the first row.
        stop: the row after the last one.
    """
    first = int(zeros.flat[0])
    return first if (zeros == first).all() else np.ascontiguousarray(zeros[start:stop])


def row_factors(parts: Parts, end: str, shape: tuple[int, int], group: int, *dtypes: str) -> Any:
    """Returns the slice of the stored scales or zero points of a matrix.

    There is one number for each group. If each row is one group, there may be one number for the whole matrix.

    Args:
        parts: the parts of the weight.
        end: name of the stored tensor after the stem.
        shape: shape (n, k) of the matrix.
        group: number of inputs in a group.
        dtypes: the allowed dtypes, as safetensors spells them.

    Raises:
        KeyError: no tensor has this name.
        ModelError: the tensor has another shape or dtype.
    """
    rows, groups = shape[0], shape[1] // group
    stored = parts.take(end, *dtypes)
    allowed = [(rows, groups)] + ([(rows,), (1, 1), (1,), ()] if groups == 1 else [])
    if tuple(stored.get_shape()) not in allowed:
        raise ModelError(f"{end} has shape {tuple(stored.get_shape())}, expected {allowed[0]}")
    return stored


def spread(stored: Any, shape: tuple[int, int]) -> np.ndarray:
    """Reads scales or zero points, and broadcasts them so that there is one for each group of each row.

    Args:
        stored: the slice of a safetensors file that `row_factors` has returned.
        shape: shape of the result, (n, k / g).

    Returns:
        A read-only view with the stored dtype.
    """
    array = np.asarray(stored[...] if stored.get_shape() == [] else stored[:])
    return np.broadcast_to(
        array.reshape(-1, shape[1]) if array.size == math.prod(shape) else array.reshape(1, 1), shape
    )


def packed_parts(
    names: Collection[str], others: tuple[str, ...], optional: str, *, always: bool
) -> dict[str, tuple[str, ...]]:
    """Returns the names of the stored parts of each weight that has a `qweight`, by the weight's name.

    Args:
        names: the names of all stored tensors.
        others: names, after the stem, of parts that every weight has.
        optional: name, after the stem, of a part that a weight may have. It is listed last.
        always: True lists the optional part for every weight, even if it is not stored. False lists it if it is stored.
    """
    parts = {}
    for stem in (name.removesuffix("qweight") for name in names if name.endswith(".qweight")):
        more = (f"{stem}{optional}",) if always or f"{stem}{optional}" in names else ()
        parts[f"{stem}weight"] = (f"{stem}qweight", *(f"{stem}{end}" for end in others), *more)
    return parts
