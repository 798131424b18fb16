"""The layout of stored tensors, [out, in] as in torch, inside the decoder's parameters, [in, out]."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

Index = tuple[int | slice, ...]
WHOLE: Index = ()


@dataclass(frozen=True)
class TensorSlice:
    """One stored tensor, or some of its rows, and the place in the parameter that it fills."""

    name: str
    stored_shape: tuple[int, ...]  # of the whole tensor
    shape: tuple[int, ...]  # of its place in the parameter
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


@dataclass(frozen=True)
class Parameter:
    """The shape of a parameter and the slices that fill it."""

    shape: tuple[int, ...]
    parts: tuple[TensorSlice, ...]


def plain(name: str, *shape: int) -> Parameter:
    """Returns a parameter that is stored in its own layout."""
    return Parameter(shape, (TensorSlice(name, shape, shape),))


def matrix(name: str, inputs: tuple[int, ...], outputs: tuple[int, ...]) -> Parameter:
    """Returns a parameter that is stored as one matrix."""
    shape = (*inputs, *outputs)
    return Parameter(shape, (TensorSlice(name, _stored(inputs, outputs), shape, transposed=True),))


def matrices(names: tuple[str, ...], inputs: int, shapes: tuple[tuple[int, ...], ...], axis: int) -> Parameter:
    """Returns a fused parameter `[inputs, ...]` of one stored matrix for each of `shapes`, joined on `axis`."""
    parts = []
    for name, shape, place in zip(names, shapes, _places(shapes, axis), strict=True):
        stored = _stored((inputs,), shape)
        parts.append(TensorSlice(name, stored, (inputs, *shape), (slice(None), *place), transposed=True))
    return Parameter((inputs, *_joined(shapes, axis)), tuple(parts))


def rows(name: str, inputs: int, shapes: tuple[tuple[int, ...], ...], axis: int) -> Parameter:
    """Returns the parameter of `matrices`, stored as one matrix with all of them, one below the other."""
    ends = np.cumsum([math.prod(shape) for shape in shapes]).tolist()
    stored, parts = (ends[-1], inputs), []
    for start, end, shape, place in zip([0, *ends], ends, shapes, _places(shapes, axis), strict=False):
        index = (slice(None), *place)
        parts.append(TensorSlice(name, stored, (inputs, *shape), index, transposed=True, rows=(start, end)))
    return Parameter((inputs, *_joined(shapes, axis)), tuple(parts))


def biases(names: tuple[str, ...], shapes: tuple[tuple[int, ...], ...], axis: int) -> Parameter:
    """Returns a fused parameter of one stored vector for each of `shapes`, joined on `axis`."""
    placed = zip(names, shapes, _places(shapes, axis), strict=True)
    parts = tuple(TensorSlice(name, (math.prod(shape),), shape, place) for name, shape, place in placed)
    return Parameter(_joined(shapes, axis), parts)


def entries(name: str, count: int, shape: tuple[int, ...], stored: tuple[int, ...] = ()) -> Parameter:
    """Returns a parameter `[count, *shape]` that is stored as one tensor and read entry by entry.

    `stored` is the shape of a stored entry, in which the last two axes of `shape` alternate. By default they do not.
    """
    whole, part = (count, *(stored or shape)), (1, *shape)
    parts = [
        TensorSlice(name, whole, part, (slice(index, index + 1),), alternating=bool(stored), rows=(index, index + 1))
        for index in range(count)
    ]
    return Parameter((count, *shape), tuple(parts))


def stacked(parameters: list[Parameter]) -> Parameter:
    """Returns a parameter of which each of `parameters`, all of one shape, is an entry on a new first axis."""
    shape = parameters[0].shape
    parts = [
        replace(part, place=(index, *part.place))
        for index, parameter in enumerate(parameters)
        for part in parameter.parts
    ]
    return Parameter((len(parameters), *shape), tuple(parts))


def _stored(inputs: tuple[int, ...], outputs: tuple[int, ...]) -> tuple[int, int]:
    return math.prod(outputs), math.prod(inputs)


def _places(shapes: tuple[tuple[int, ...], ...], axis: int) -> list[Index]:
    ends = np.cumsum([shape[axis] for shape in shapes]).tolist()
    starts = [0, *ends[:-1]]
    return [(*[slice(None)] * axis, slice(start, end)) for start, end in zip(starts, ends, strict=True)]


def _joined(shapes: tuple[tuple[int, ...], ...], axis: int) -> tuple[int, ...]:
    shape = list(shapes[0])
    shape[axis] = sum(each[axis] for each in shapes)
    return tuple(shape)
