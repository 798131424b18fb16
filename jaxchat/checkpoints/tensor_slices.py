"""Maps stored tensors, `[out, in]` as in torch, to places in the decoder's parameters, `[in, out]`."""

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
    """A stored tensor, or some of its rows, and the part of a parameter, `parameter[place]`, that its numbers fill."""

    name: str
    stored_shape: Shape  # of the whole tensor
    shape: Shape  # of its place in the parameter
    place: Index = WHOLE
    transposed: bool = False
    alternating: bool = False  # stored with the last two axes of the place the other way round
    rows: tuple[int, int] | None = None  # of the stored tensor, from and to; None: all

    def from_stored(self, rows: np.ndarray) -> np.ndarray:
        """Converts the stored `rows` to the layout and shape of `parameter[place]`."""
        if self.alternating:
            *outer, count, size = self.shape
            return rows.reshape(*outer, size, count).swapaxes(-1, -2)
        return (rows.T if self.transposed else rows).reshape(self.shape)

    def to_stored(self, piece: np.ndarray) -> np.ndarray:
        """Converts `piece`, which is `parameter[place]`, to the stored layout: the inverse of `from_stored`."""
        first, *rest = self.stored_shape
        stored = (self.rows[1] - self.rows[0] if self.rows else first, *rest)
        if self.alternating:
            return piece.swapaxes(-1, -2).reshape(stored)
        return piece.reshape(stored[::-1]).T if self.transposed else piece.reshape(stored)


Slices = tuple[TensorSlice, ...]
"""The stored tensors that fill one parameter."""


def whole(name: str, shape: Shape) -> Slices:
    """Returns the slice of a parameter that is stored as one tensor of the same shape."""
    return (TensorSlice(name, shape, shape),)


def matrix(name: str, shape: Shape, inputs: int) -> Slices:
    """Returns the slice of a parameter `[in.., out..]` with `inputs` input axes, stored as one matrix `[out, in]`."""
    return (TensorSlice(name, _stored(shape, inputs), shape, transposed=True),)


def joined_matrices(names: Sequence[str], shape: Shape, axis: int, counts: Sequence[int]) -> Slices:
    """Returns the slices of a parameter `[in, out..]` that is stored as several matrices `[out, in]`.

    Args:
        names: the stored matrices.
        shape: shape of the parameter.
        axis: the axis of the parameter along which the matrices are concatenated.
        counts: each matrix's size along that axis.
    """
    return tuple(
        TensorSlice(name, _stored(part, 1), part, place, transposed=True)
        for name, (part, place) in zip(names, _parts(shape, axis, counts), strict=True)
    )


def joined_rows(name: str, shape: Shape, axis: int, counts: Sequence[int]) -> Slices:
    """Returns the slices of a parameter `[in, out..]` whose parts follow each other in one stored matrix `[out, in]`.

    Args:
        name: the stored matrix.
        shape: shape of the parameter.
        axis: the axis of the parameter along which its parts are concatenated.
        counts: each part's size along that axis.
    """
    slices, start = [], 0
    for part, place in _parts(shape, axis, counts):
        end = start + math.prod(part[1:])
        slices.append(TensorSlice(name, _stored(shape, 1), part, place, transposed=True, rows=(start, end)))
        start = end
    return tuple(slices)


def joined_vectors(names: Sequence[str], shape: Shape, axis: int, counts: Sequence[int]) -> Slices:
    """Returns the slices of a parameter that is stored as several vectors.

    Args:
        names: the stored vectors.
        shape: shape of the parameter.
        axis: the axis of the parameter along which the vectors are concatenated.
        counts: each vector's size along that axis.
    """
    return tuple(
        TensorSlice(name, (math.prod(part),), part, place)
        for name, (part, place) in zip(names, _parts(shape, axis, counts), strict=True)
    )


def entries(name: str, shape: Shape, *, alternating: bool = False, transposed: bool = False) -> Slices:
    """Returns the slices of a parameter that is stored as one tensor: one slice for each entry of the first axis.

    Args:
        name: name of the tensor.
        shape: shape of the parameter, `[entries, out..]` for vectors and `[entries, in, out..]` for matrices.
        alternating: whether the last two axes `[a, b]` of the parameter are stored as one axis, in the order `[b, a]`.
            The index of axis a then varies fastest.
        transposed: whether each matrix is stored as `[out, in]`.
    """
    count, *entry = shape
    outer = entry[:-2] if alternating else entry[:1]
    axes = (*outer, math.prod(entry[len(outer) :]))
    stored = (count, *(axes[::-1] if transposed else axes))
    return tuple(
        TensorSlice(
            name,
            stored,
            (1, *entry),
            (slice(index, index + 1),),
            transposed=transposed,
            alternating=alternating,
            rows=(index, index + 1),
        )
        for index in range(count)
    )


def stacked(parameters: Sequence[Slices]) -> Slices:
    """Returns the slices of a parameter that stacks `parameters`, all of one shape, on a new first axis."""
    return tuple(
        replace(part, place=(index, *part.place)) for index, slices in enumerate(parameters) for part in slices
    )


def _stored(shape: Shape, inputs: int) -> tuple[int, int]:
    return math.prod(shape[inputs:]), math.prod(shape[:inputs])


def _parts(shape: Shape, axis: int, counts: Sequence[int]) -> Iterator[tuple[Shape, Index]]:
    """Yields the shape and the place of each part of a parameter that is joined on `axis`."""
    for count, end in zip(counts, accumulate(counts), strict=True):
        yield (*shape[:axis], count, *shape[axis + 1 :]), (*[slice(None)] * axis, slice(end - count, end))
