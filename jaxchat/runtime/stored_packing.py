"""Packs weights that a checkpoint stores as quantised rows, without widening them.

Letters: k inputs, N outputs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from math import prod
from typing import Any, Protocol

import jax.numpy as jnp
import numpy as np

from jaxchat.checkpoints.huggingface import Piece
from jaxchat.checkpoints.tensor_slices import TensorSlice
from jaxchat.kernels.matmul.grouped import GroupedWeight, fits, pack_rows
from jaxchat.kernels.matmul.native import PanelWeight, pack_table
from jaxchat.kernels.matmul.packed import JoinedWeight, PackedWeight
from jaxchat.models.param_specs import ParamSpec
from jaxchat.quantised import QuantisedRows, joined, padded_rows, same_order

_STACK = 3  # axes of a stack of matrices


@dataclass(frozen=True)
class RowParts:
    """The rows of one weight in several parts, which all have the same form and the same order of inputs.

    Row i belongs to output `outputs[i]`. Further entries of `outputs` are outputs of padding, which have no rows.
    """

    parts: tuple[QuantisedRows, ...]
    outputs: np.ndarray  # int [N]

    def joined(self) -> QuantisedRows:
        """Returns the rows of all parts in the order of the outputs, and rows of zeros for the padding."""
        rows = joined(self.parts)
        places = self.outputs[: rows.shape[0]]
        in_order = np.array_equal(places, np.arange(len(places)))
        return padded_rows(rows if in_order else rows[np.argsort(places)], len(self.outputs))


class RowsPacking(Protocol):
    """A layout on the devices for weights that are stored as quantised rows."""

    def unsupported_reason(self, spec: ParamSpec, rows: QuantisedRows) -> str | None:
        """Returns why rows of this form cannot be packed as a part of a parameter, or None if they can."""

    def weight(self, spec: ParamSpec, outputs: tuple[int, ...], stack: Sequence[RowParts]) -> PackedWeight:
        """Packs rows that `unsupported_reason` accepts: one weight, or the stack of an expert parameter.

        Args:
            spec: the whole parameter. The rows may be only a part of it.
            outputs: shape of the output axes of these rows.
            stack: the rows of each weight, all in one form.
        """

    def plain(self, spec: ParamSpec, outputs: tuple[int, ...], rows: np.ndarray) -> PackedWeight | None:
        """Packs the unquantised rows of one part of a parameter whose other parts are quantised.

        Returns None if the layout does not support this.

        Args:
            spec: the parameter.
            outputs: shape of the output axes of these rows.
            rows: floating-point numbers `[N, k]`.
        """


@dataclass(frozen=True)
class PanelRows:
    """The layout of weights for matrix products on one CPU.

    `target` is the custom call from `native_grouped`, which multiplies by quantised rows. If it is empty, XLA does. A
    parameter may also have parts that are not quantised. `targets` are the custom calls that multiply by these, from
    `native_matmuls`, by dtype. If there are none, such parts cannot be packed.
    """

    dtype: str  # of activations, and of weights that are not quantised
    target: str = ""
    targets: Mapping[str, str] = field(default_factory=dict)

    def unsupported_reason(self, spec: ParamSpec, rows: QuantisedRows) -> str | None:
        """Returns why the kernels cannot multiply by rows of this form, or None if they can."""
        return None if fits(rows) else "the kernels do not support their groups"

    def weight(self, spec: ParamSpec, outputs: tuple[int, ...], stack: Sequence[RowParts]) -> GroupedWeight:
        """Packs one weight, or a stack, into panels. Arguments are those of `RowsPacking.weight`."""
        return pack_rows([rows.joined() for rows in stack], outputs, jnp.dtype(self.dtype), self.target)

    def plain(self, spec: ParamSpec, outputs: tuple[int, ...], rows: np.ndarray) -> PanelWeight | None:
        """Packs unquantised rows into panels. Returns None if the device has no custom call for them."""
        if not self.targets:
            return None
        table = pack_table(jnp.asarray(rows, self.dtype), self.targets[self.dtype])
        return replace(table, outputs=outputs)


class StoredPacking:
    """A packing of parameters that a checkpoint stores as quantised rows.

    `bits` has the sizes of the codes packed so far. `widened` counts parameters that could not be packed, by reason.
    """

    def __init__(self, layout: RowsPacking) -> None:
        """Starts with empty counts.

        Args:
            layout: the layout on the devices.
        """
        self._layout = layout
        self.bits: set[int] = set()
        self.widened: Counter[str] = Counter()

    def pack(self, spec: ParamSpec, pieces: Sequence[Piece], stored: ParamSpec | None = None) -> PackedWeight | None:
        """Packs a parameter without widening it. Returns None if the parameter must be widened.

        Args:
            spec: the parameter as it is served, which may be padded to the devices.
            pieces: the stored parts of the parameter, each with its place.
            stored: the parameter without padding, by default `spec`.
        """
        quantised = [rows for _, rows in pieces if isinstance(rows, QuantisedRows)]
        reasons = (self._layout.unsupported_reason(spec, rows) for rows in quantised)
        padded = (stored or spec).shape != spec.shape and spec.padding != "vocab"
        reason = "their heads are padded" if padded else next((reason for reason in reasons if reason), None)
        packed = None if reason else self._packed(spec, pieces)
        if packed is None:
            self.widened[reason or "their parts have several forms"] += 1
        else:
            self.bits |= {rows.bits for rows in quantised}
        return packed

    def _packed(self, spec: ParamSpec, pieces: Sequence[Piece]) -> PackedWeight | None:
        weights = [list(entry) for _, entry in groupby(pieces, lambda piece: _entry(spec, piece))]
        return self._same_form(spec, weights) or (None if spec.per_expert else self._joined(spec, pieces))

    def _same_form(self, spec: ParamSpec, weights: Sequence[Sequence[Piece]]) -> PackedWeight | None:
        """Packs a parameter whose pieces are quantised in one form, with a stored row for each output.

        Returns None if pieces have different forms, or if a stored row has weights of several outputs.
        """
        rows = [rows for pieces in weights for _, rows in pieces if isinstance(rows, QuantisedRows)]
        if len(rows) < sum(map(len, weights)) or len({part.form for part in rows}) > 1:
            return None
        outputs, stack = outputs_of(spec), []
        for pieces in weights:
            if not all(_rows_are_outputs(spec, part, outputs) for part, _ in pieces):
                return None
            parts = tuple(part for _, part in pieces if isinstance(part, QuantisedRows))
            if not same_order(parts):
                return None
            stack.append(RowParts(parts, np.concatenate([_numbers(spec, part, outputs) for part, _ in pieces])))
        return self._layout.weight(spec, outputs, stack)

    def _joined(self, spec: ParamSpec, pieces: Sequence[Piece]) -> JoinedWeight | None:
        """Packs a parameter whose pieces have several forms and follow each other on one axis.

        Returns None if the pieces are arranged otherwise, or if one of them cannot be packed.
        """
        inputs = len(spec.contracted)
        axis = max((len(part.place) for part, _ in pieces), default=0) - 1 - inputs
        if axis < 0 or not all(part.transposed for part, _ in pieces):
            return None
        parts = [self._part(spec, rows, part.shape[inputs:]) for part, rows in pieces]
        return None if None in parts else JoinedWeight(tuple(part for part in parts if part), axis)

    def _part(self, spec: ParamSpec, rows: QuantisedRows | np.ndarray, outputs: tuple[int, ...]) -> Any:
        if isinstance(rows, QuantisedRows):
            return self._layout.weight(spec, outputs, [RowParts((rows,), np.arange(prod(outputs)))])
        return self._layout.plain(spec, outputs, rows)


def _entry(spec: ParamSpec, piece: Piece) -> object:
    """Returns the index of the expert that a piece belongs to, or 0 for a parameter without experts."""
    part, _ = piece
    first = part.place[0] if spec.per_expert else 0
    return first.start if isinstance(first, slice) else first


def outputs_of(spec: ParamSpec) -> tuple[int, ...]:
    """Returns the sizes of the output axes of a parameter. A table `[V, D]` has its V rows as outputs."""
    if spec.axes[0] == "vocab":
        return spec.shape[:1]
    return spec.shape[len(spec.contracted) + spec.per_expert :]


def _rows_are_outputs(spec: ParamSpec, part: TensorSlice, outputs: tuple[int, ...]) -> bool:
    """Returns whether each stored row of a part has the weights of one output."""
    return part.transposed or spec.shape[:1] == outputs or len(part.stored_shape) == _STACK


def _numbers(spec: ParamSpec, part: TensorSlice, outputs: tuple[int, ...]) -> np.ndarray:
    """Returns for each row of a part the index of its output, int `[rows]`."""
    skipped = spec.per_expert + len(spec.contracted)
    numbers = np.arange(prod(outputs)).reshape(outputs)[part.place[skipped:]]
    return (numbers.swapaxes(-1, -2) if part.alternating else numbers).ravel()
