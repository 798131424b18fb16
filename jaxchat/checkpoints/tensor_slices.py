"""The layout of stored tensors, [out, in] as in torch, inside the decoder's parameters, [in, out]."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate

import numpy as np

Index = tuple[int | slice, ...]
Shape = tuple[int, ...]
WHOLE: Index = ()


@dataclass(frozen=True)
class TensorSlice:
    """One stored tensor, or some of its rows, and the place in the parameter that it fills."""

    name: str
    stored_shape: Shape  # of the whole tensor
    shape: Shape  # of its place in the parameter
    place: Index = WHOLE
    transposed: bool = False
    alternating: bool = False  # stored with the last two axes of the place the other way round
    rows: tuple[int, int] | None = None  # of the stored tensor, from and to; None: all

    def from_stored(self, rows: np.ndarray) -> np.ndarray:
        """Converts stored rows to the shape of their place."""
        if self.alternating:
            *outer, count, size = self.shape
            return rows.reshape(*outer, size, count).swapaxes(-1, -2)
        return (rows.T if self.transposed else rows).reshape(self.shape)

    def to_stored(self, piece: np.ndarray) -> np.ndarray:
        """Inverts `from_stored`."""
        first, *rest = self.stored_shape
        stored = (self.rows[1] - self.rows[0] if self.rows else first, *rest)
        if self.alternating:
            return piece.swapaxes(-1, -2).reshape(stored)
        return piece.reshape(stored[::-1]).T if self.transposed else piece.reshape(stored)


Slices = tuple[TensorSlice, ...]
"""The stored tensors that fill one parameter."""


def whole(name: str, shape: Shape) -> Slices:
    """Returns the slice of a parameter that is stored in its own layout."""
    return (TensorSlice(name, shape, shape),)


def matrix(name: str, shape: Shape, inputs: int) -> Slices:
    """Returns the slice of a parameter `[in.., out..]` with `inputs` input axes, stored as one matrix."""
    return (TensorSlice(name, _stored(shape, inputs), shape, transposed=True),)


def joined_matrices(names: Sequence[str], shape: Shape, axis: int, counts: Sequence[int]) -> Slices:
    """Returns the slices of a parameter `[in, out..]` of several stored matrices.

    Args:
        names: of the matrices.
        shape: of the parameter.
        axis: of the parameter, on which they are joined.
        counts: how much of that axis each of them fills.
    """
    return tuple(
        TensorSlice(name, _stored(part, 1), part, place, transposed=True)
        for name, (part, place) in zip(names, _parts(shape, axis, counts), strict=True)
    )


def joined_rows(name: str, shape: Shape, axis: int, counts: Sequence[int]) -> Slices:
    """Returns the slices of `joined_matrices`, stored as one matrix with all of them, one below the other."""
    slices, start = [], 0
    for part, place in _parts(shape, axis, counts):
        end = start + math.prod(part[1:])
        slices.append(TensorSlice(name, _stored(shape, 1), part, place, transposed=True, rows=(start, end)))
        start = end
    return tuple(slices)


def joined_vectors(names: Sequence[str], shape: Shape, axis: int, counts: Sequence[int]) -> Slices:
    """Returns the slices of `joined_matrices` for several stored vectors."""
    return tuple(
        TensorSlice(name, (math.prod(part),), part, place)
        for name, (part, place) in zip(names, _parts(shape, axis, counts), strict=True)
    )


def entries(name: str, shape: Shape, *, alternating: bool = False, transposed: bool = False) -> Slices:
    """Returns the slices of a parameter that is stored as one tensor and read entry by entry of the first axis.

    Args:
        name: name of the tensor.
        shape: shape of the parameter.
        alternating: whether the last two axes of the parameter alternate in one axis of the tensor.
        transposed: whether each entry is stored as a matrix [out, in].
    """
    count, *entry = shape
    stored = (count, *entry[:-2], math.prod(entry[-2:])) if alternating else shape
    if transposed:
        stored = (count, *_stored(tuple(entry), 1))
    return tuple(
        TensorSlice(
            name,
            stored,
            (1, *entry),
            (slice(index, index + 1),),
            alternating=alternating,
            transposed=transposed,
            rows=(index, index + 1),
        )
        for index in range(count)
    )


def stacked(parameters: Sequence[Slices]) -> Slices:
    """Returns the slices of parameters of one shape, each an entry on a new first axis."""
    return tuple(
        replace(part, place=(index, *part.place)) for index, slices in enumerate(parameters) for part in slices
    )


def _stored(shape: Shape, inputs: int) -> tuple[int, int]:
    return math.prod(shape[inputs:]), math.prod(shape[:inputs])


def _parts(shape: Shape, axis: int, counts: Sequence[int]) -> Iterator[tuple[Shape, Index]]:
    """Yields the shape and the place of each part of a parameter that is joined on `axis`."""
    for count, end in zip(counts, accumulate(counts), strict=True):
        yield (*shape[:axis], count, *shape[axis + 1 :]), (*[slice(None)] * axis, slice(end - count, end))
