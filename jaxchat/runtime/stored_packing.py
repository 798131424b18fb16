"""Packs weights that a checkpoint stores as quantised rows, without widening them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import groupby
from math import prod

import jax.numpy as jnp
import numpy as np

from jaxchat.checkpoints.huggingface import Piece
from jaxchat.checkpoints.tensor_slices import TensorSlice
from jaxchat.kernels.matmul.grouped import GroupedWeight, fits, pack_rows
from jaxchat.kernels.matmul.native import PanelWeight, pack_table
from jaxchat.kernels.matmul.packed import JoinedWeight, PackedWeight
from jaxchat.models.param_specs import ParamSpec
from jaxchat.quantised import QuantisedRows, joined, same_order

_STACK = 3  # axes of a stack of matrices


class StoredPacking:
    """Packs quantised rows for the products of one device. `bits` are the sizes of the codes that it has packed."""

    def __init__(self, dtype: str, target: str, targets: dict[str, str]) -> None:
        """Makes a packing for the custom calls of the C++ kernels, or for XLA.

        Args:
            dtype: dtype of what else the model computes with, and of parts that are not quantised.
            target: the custom call from `native_grouped`; empty: XLA multiplies.
            targets: the custom calls by dtype from `native_matmuls`; empty: XLA multiplies.
        """
        self._dtype, self._target, self._targets = jnp.dtype(dtype), target, targets
        self.bits: set[int] = set()

    def pack(self, spec: ParamSpec, pieces: Sequence[Piece]) -> PackedWeight | None:
        """Returns the parameter that `pieces` fill, or None if it cannot be kept as stored: it must then be widened."""
        if not all(fits(rows) for _, rows in pieces if isinstance(rows, QuantisedRows)):
            return None
        weights = [list(entry) for _, entry in groupby(pieces, lambda piece: _entry(spec, piece))]
        packed = self._same_form(spec, weights) or (None if spec.per_expert else self._joined(spec, pieces))
        if packed:
            self.bits |= {rows.bits for _, rows in pieces if isinstance(rows, QuantisedRows)}
        return packed

    def _same_form(self, spec: ParamSpec, weights: Sequence[Sequence[Piece]]) -> GroupedWeight | None:
        """Returns a parameter, or a stack of experts, all of whose pieces have one form."""
        rows = [rows for pieces in weights for _, rows in pieces if isinstance(rows, QuantisedRows)]
        if len(rows) < sum(map(len, weights)) or len({part.form for part in rows}) > 1:
            return None
        outputs, stack = _outputs(spec), []
        for pieces in weights:
            places = [_numbers(spec, part, outputs) for part, _ in pieces]
            if not all(_rows_are_outputs(spec, part, outputs) for part, _ in pieces):
                return None
            parts = [part for _, part in pieces if isinstance(part, QuantisedRows)]
            if not same_order(parts):
                return None
            whole = joined(parts)
            numbers = np.concatenate(places)
            in_order = np.array_equal(numbers, np.arange(len(numbers)))
            stack.append(whole if in_order else whole[np.argsort(numbers)])
        return pack_rows(stack, outputs, self._dtype, self._target)

    def _joined(self, spec: ParamSpec, pieces: Sequence[Piece]) -> JoinedWeight | None:
        """Returns a parameter whose pieces have several forms and follow each other on one axis."""
        inputs = len(spec.contracted)
        axis = max((len(part.place) for part, _ in pieces), default=0) - 1 - inputs
        if axis < 0 or not all(part.transposed for part, _ in pieces):
            return None
        parts = [self._part(rows, part.shape[inputs:]) for part, rows in pieces]
        return None if None in parts else JoinedWeight(tuple(part for part in parts if part), axis)

    def _part(self, rows: QuantisedRows | np.ndarray, outputs: tuple[int, ...]) -> PanelWeight | GroupedWeight | None:
        if isinstance(rows, QuantisedRows):
            return pack_rows([rows], outputs, self._dtype, self._target)
        if not self._targets:
            return None
        table = pack_table(jnp.asarray(rows, self._dtype), self._targets[self._dtype.name])
        return replace(table, outputs=outputs)


def _entry(spec: ParamSpec, piece: Piece) -> object:
    """Returns the number of the expert that a piece belongs to."""
    part, _ = piece
    first = part.place[0] if spec.per_expert else 0
    return first.start if isinstance(first, slice) else first


def _outputs(spec: ParamSpec) -> tuple[int, ...]:
    """Returns the sizes of the axes of outputs: those of a table are its rows."""
    if spec.axes[0] == "vocab":
        return spec.shape[:1]
    return spec.shape[len(spec.contracted) + spec.per_expert :]


def _rows_are_outputs(spec: ParamSpec, part: TensorSlice, outputs: tuple[int, ...]) -> bool:
    """Returns whether quantised rows are outputs: those of matrices, of tables, and of entries of stacks."""
    return part.transposed or spec.shape[:1] == outputs or len(part.stored_shape) == _STACK


def _numbers(spec: ParamSpec, part: TensorSlice, outputs: tuple[int, ...]) -> np.ndarray:
    """Returns the numbers of the outputs that the rows of a piece belong to, in the order of the rows."""
    skipped = spec.per_expert + len(spec.contracted)
    numbers = np.arange(prod(outputs)).reshape(outputs)[part.place[skipped:]]
    return (numbers.swapaxes(-1, -2) if part.alternating else numbers).ravel()
