"""Finds how a model's tensors are stored, from its `config.json` or the header of its GGUF file, without weights."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from jaxchat.checkpoints.gguf.blocks import is_quantised, quantised_rows
from jaxchat.checkpoints.gguf.file import open_gguf
from jaxchat.checkpoints.gguf.manifest import origins
from jaxchat.checkpoints.gguf.tensor_types import TensorType
from jaxchat.checkpoints.stored_form import CHECKPOINT_FORMS, PlannedForm
from jaxchat.checkpoints.tensor_slices import TensorSlice
from jaxchat.quantised import QuantisedRows, repeated_row

Stored = Callable[[TensorSlice], QuantisedRows | None]
"""`stored(part)` returns rows in the stored form of a part of a parameter, or None if the part is not quantised.

The rows are imagined: all their numbers are zero, and they take no memory.
"""


def not_quantised(part: TensorSlice) -> None:
    """Returns None: the part of a parameter is not quantised."""


def stored_in_config(raw: Mapping[str, Any]) -> Stored:
    """Returns the forms that `quantization_config` describes in `raw`, the object in a `config.json`.

    If the form of the weights is not a `PlannedForm`, the weights count as not quantised.
    """
    quantization = raw.get("quantization_config")
    if not isinstance(quantization, Mapping):
        return not_quantised
    form = CHECKPOINT_FORMS.get(str(quantization.get("quant_method")))
    if not isinstance(form, PlannedForm):
        return not_quantised
    dtype = raw.get("dtype", raw.get("torch_dtype", "float16"))
    scale = "float16" if dtype == "float16" else "float32"  # bf16 is widened

    def stored(part: TensorSlice) -> QuantisedRows | None:
        rows = form.imagined(part.name, part.stored_shape, quantization, scale)
        return None if rows is None else rows[slice(*_rows(part))]

    return stored


def stored_in_gguf(path: Path) -> Stored:
    """Returns the forms of the tensors in a GGUF file. Raises ModelError if its header is damaged or not supported."""
    file = open_gguf(path)
    by_name = origins(file)

    def stored(part: TensorSlice) -> QuantisedRows | None:
        origin = by_name.get(part.name)
        if origin is None or len(origin.shape) != (3 if origin.compose else 2):
            return None
        kind, *others = {file.tensors[name].type for name in origin.tensors}
        if others or not is_quantised(kind):
            return None
        start, stop = _rows(part)
        inputs = origin.shape[1]  # of `[n, k]`, and of experts `[E, k, n]`
        return repeated_row(_row(kind, inputs), stop - start)

    return stored


@cache
def _row(kind: TensorType, inputs: int) -> QuantisedRows:
    return quantised_rows(kind, np.zeros((1, kind.bytes_of(inputs)), np.uint8))


def _rows(part: TensorSlice) -> tuple[int, int]:
    """Returns the first row of a part and the row after its last one.

    If the tensor is a stack, the rows are the outputs of one entry.
    """
    if len(part.stored_shape) == 2:
        return part.rows or (0, part.stored_shape[0])
    return 0, math.prod(part.stored_shape[2:])
