"""Rows of a quantised weight as checkpoints store them: small integers in groups that share a scale.

Every stored form of this kind, such as GGUF's Q4_K, GPTQ, AWQ and int8, is read into `QuantisedRows` without loss.
Every layout for a kernel is made from `QuantisedRows`. Letters: n rows (outputs), k inputs, g inputs in a group.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

BITS = (4, 5, 6, 8)
"""The supported sizes of a code."""
BLOCK = 32
"""Number of inputs that kernels multiply at once. It divides k. The size of a group is a multiple or half of it."""


@dataclass(frozen=True)
class Factors:
    """One number for each group of a row. It is `outer`, or `outer * inner` if there are two levels.

    An entry of `outer` may cover several groups.
    """

    outer: np.ndarray  # f16 or f32 [n, k / o], where o is a multiple of g
    inner: np.ndarray | None = None  # i8 [n, k / g]

    def values(self, groups: int) -> np.ndarray:
        """Returns the numbers, f32 `[n, groups]`, where `groups` is k / g."""
        outer = np.repeat(self.outer.astype(np.float32), groups // self.outer.shape[1], axis=1)
        return outer if self.inner is None else outer * self.inner.astype(np.float32)

    def __getitem__(self, rows: slice | np.ndarray) -> Factors:
        """Returns the factors of some rows."""
        return Factors(self.outer[rows], None if self.inner is None else self.inner[rows])


@dataclass(frozen=True)
class QuantisedRows:
    """Rows of a weight `w[n, k] = scale * (codes - zero) - minimum`, where each group of a row has its own scale.

    The formula, computed in f32 in this order, gives the numbers that the stored form defines, bit for bit.
    """

    codes: np.ndarray  # u8 [n, k], each below 2**bits
    bits: int  # one of BITS
    group: int  # g: 16, or a multiple of 32 that divides k
    scale: Factors
    zero: int | np.ndarray = 0  # one for all, or u8 [n, k / g]
    minimum: Factors | None = None
    order: np.ndarray | None = None  # i32 [k]: codes[:, j] belong to input order[j] of the model; None: to input j
    e2m1: bool = False  # whether `codes - zero` are twice the numbers of floats of 4 bits (E2M1)

    @property
    def shape(self) -> tuple[int, int]:
        """The shape `(n, k)` of the weight."""
        rows, inputs = self.codes.shape
        return rows, inputs

    @property
    def form(self) -> tuple[object, ...]:
        """The properties that rows must have in common to be joined, besides their `order`."""
        factors = [
            f and (f.outer.dtype.str, self.shape[1] // f.outer.shape[1], f.inner is None)
            for f in (self.scale, self.minimum)
        ]
        zero = self.zero if isinstance(self.zero, int) else "each"
        return (self.bits, self.group, self.shape[1], zero, self.e2m1, *factors)

    @property
    def arrays(self) -> tuple[np.ndarray, ...]:
        """All arrays, in a fixed order."""
        factors = [f for f in (self.scale, self.minimum) if f is not None]
        parts = [self.codes, *(array for f in factors for array in (f.outer, f.inner)), self.zero, self.order]
        return tuple(part for part in parts if isinstance(part, np.ndarray))

    @property
    def is_finite(self) -> bool:
        """Whether all factors are finite numbers. If one is not, the checkpoint is damaged."""
        return all(np.isfinite(f.outer).all() for f in (self.scale, self.minimum) if f is not None)

    def __getitem__(self, rows: slice | np.ndarray) -> QuantisedRows:
        """Returns some of the rows."""
        return replace(
            self,
            codes=self.codes[rows],
            scale=self.scale[rows],
            zero=self.zero if isinstance(self.zero, int) else self.zero[rows],
            minimum=None if self.minimum is None else self.minimum[rows],
        )

    def dequantised(self) -> np.ndarray:
        """Returns the weight, f32 `[n, k]`, with its inputs in the order of the model."""
        rows, inputs = self.shape
        groups = inputs // self.group
        zero = self.zero if isinstance(self.zero, int) else self.zero[..., None].astype(np.float32)
        codes = self.codes.reshape(rows, groups, self.group).astype(np.float32) - zero
        codes *= self.scale.values(groups)[..., None]
        if self.minimum is not None:
            codes -= self.minimum.values(groups)[..., None]
        weights = codes.reshape(rows, inputs)
        if self.order is None:
            return weights
        in_order = np.empty_like(weights)
        in_order[:, self.order] = weights
        return in_order


def imagined_rows(
    shape: tuple[int, int], bits: int, group: int, *, scale: str = "float16", zeros: bool = False, ordered: bool = False
) -> QuantisedRows:
    """Returns rows of zeros that take no memory, for planning.

    Args:
        shape: the shape `(n, k)` of the weight.
        bits: bits of a code.
        group: inputs in a group.
        scale: dtype of the scales, "float16" or "float32".
        zeros: whether each group has its own zero point.
        ordered: whether a group's inputs are not neighbours.
    """
    rows, inputs = shape

    def nothing(dtype: str, *shape: int) -> np.ndarray:
        return np.broadcast_to(np.zeros((), dtype), shape)

    groups = rows, inputs // group
    return QuantisedRows(
        nothing("uint8", rows, inputs),
        bits,
        group,
        Factors(nothing(scale, *groups)),
        nothing("uint8", *groups) if zeros else 1 << (bits - 1),
        order=nothing("int32", inputs) if ordered else None,
    )


def repeated_row(row: QuantisedRows, count: int) -> QuantisedRows:
    """Returns `count` copies of one row, which together take no more memory than the row."""

    return _changed(row, lambda array: np.broadcast_to(array, (count, array.shape[1])))


def same_order(parts: Sequence[QuantisedRows]) -> bool:
    """Returns whether all parts have their inputs in the same order."""
    orders = [part.order for part in parts if part.order is not None]
    return not orders or (len(orders) == len(parts) and all(np.array_equal(order, orders[0]) for order in orders))


def joined(parts: Sequence[QuantisedRows]) -> QuantisedRows:
    """Joins the rows of all parts, one part after the other. The parts must have the same `form` and `order`."""
    first = parts[0]
    if len(parts) == 1:
        return first
    minima = [part.minimum for part in parts if part.minimum is not None]
    zeros = [part.zero for part in parts if isinstance(part.zero, np.ndarray)]
    return replace(
        first,
        codes=np.concatenate([part.codes for part in parts]),
        scale=_joined_factors([part.scale for part in parts]),
        zero=np.concatenate(zeros) if zeros else first.zero,
        minimum=_joined_factors(minima) if minima else None,
    )


def padded_rows(rows: QuantisedRows, count: int) -> QuantisedRows:
    """Returns `rows`, extended by rows of zeros to `count` rows."""
    missing = count - rows.shape[0]
    if not missing:
        return rows
    return _changed(rows, lambda array: np.pad(array, ((0, missing), (0, 0))))


def _changed(rows: QuantisedRows, change: Callable[[np.ndarray], np.ndarray]) -> QuantisedRows:
    """Returns rows in which `change` has been applied to every array that has an entry for each row."""

    def factors(each: Factors) -> Factors:
        return Factors(change(each.outer), None if each.inner is None else change(each.inner))

    return replace(
        rows,
        codes=change(rows.codes),
        scale=factors(rows.scale),
        zero=rows.zero if isinstance(rows.zero, int) else change(rows.zero),
        minimum=None if rows.minimum is None else factors(rows.minimum),
    )


def _joined_factors(parts: Sequence[Factors]) -> Factors:
    inner = [part.inner for part in parts if part.inner is not None]
    return Factors(np.concatenate([part.outer for part in parts]), np.concatenate(inner) if inner else None)
