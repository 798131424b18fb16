"""Weights of 8-bit floats (E4M3) times scales. There is one scale for all floats, each output or each block.

Reading widens floats to f32 and multiplies them by their scales, with one rounding.
"""

from __future__ import annotations

import numpy as np

from jaxchat.arithmetic import cdiv
from jaxchat.checkpoints.float8 import E4M3
from jaxchat.checkpoints.forms.parts import SCALES, Parts
from jaxchat.errors import ModelError
from jaxchat.models.hf_config import HFConfigReader

Block = tuple[int, int]
"""The rows and columns of a block, in the order in which a tensor is stored."""


def block_shape(keys: HFConfigReader, key: str, default: list[int] | None) -> Block:
    """Returns the shape of a block of weights that share a scale.

    Args:
        keys: the settings.
        key: the key of the shape.
        default: the shape if the key is absent.

    Raises:
        ModelError: the value is not a list of two whole numbers above 0.
    """
    value = keys.values.get(key, default)
    if not (isinstance(value, list) and len(value) == 2 and all(type(size) is int and size > 0 for size in value)):
        raise keys.error(key, "must be a list of two whole numbers above 0")
    rows, columns = value
    return rows, columns


class ScaledFloats:
    """A matrix of floats with their scales, or a stack of such matrices.

    It can be read like the result of safetensors' `get_slice`.
    """

    def __init__(self, parts: Parts, end: str, scales: str, block: Block | None) -> None:
        """Wraps the stored parts.

        Args:
            parts: the stored parts.
            end: name of the floats after the stem.
            scales: name of the scales after the stem.
            block: the shape of a block; None: only scales of rows, or one scale, are allowed.

        Raises:
            KeyError: the floats or the scales are absent.
            ModelError: the shapes or dtypes of the parts do not match.
        """
        self._floats, self._scales = parts.take(end, E4M3), parts.take(scales, *SCALES)
        self.shape = tuple(self._floats.get_shape())
        if len(self.shape) not in (2, 3) or not all(self.shape):
            raise ModelError(f"{end} has shape {self.shape}, expected a matrix or a stack of matrices")
        *stack, rows, columns = self.shape
        stored = tuple(self._scales.get_shape())
        whole = (1,) * len(self.shape)
        grid = (*stack, cdiv(rows, block[0]), cdiv(columns, block[1])) if block else None
        if stored in ((), (1,), whole):
            self._block, self._grid = (rows, columns), whole
        elif stored in ((*stack, 1, 1), tuple(stack)):
            self._block, self._grid = (rows, columns), (*stack, 1, 1)
        elif stored in ((*stack, rows, 1), (*stack, rows)) and stored != grid:
            self._block, self._grid = (1, columns), (*stack, rows, 1)
        elif block and stored == grid:
            self._block, self._grid = block, stored
        else:
            raise ModelError(f"{scales} has shape {stored}, expected {grid or (*stack, rows, 1)}")

    def get_shape(self) -> list[int]:
        """Returns the shape of the floats."""
        return list(self.shape)

    def get_dtype(self) -> str:
        """Returns "F32", because products with the scales are computed in f32."""
        return "F32"

    def __getitem__(self, index: slice) -> np.ndarray:
        """Returns the entries in the slice `index` of the first axis, f32.

        Raises:
            ModelError: a scale is not a finite number.
        """
        scales = np.asarray(self._scales[...] if self._scales.get_shape() == [] else self._scales[:], np.float32)
        if not np.isfinite(scales).all():
            raise ModelError("a scale is not a finite number")
        scales = scales.reshape(self._grid)
        numbers = self._floats[index].astype(np.float32)
        start, stop, _ = index.indices(self.shape[0])
        *stack, rows, columns = self.shape
        first, last = (0, rows) if stack else (start, stop)
        if stack and len(scales) > 1:
            scales = scales[start:stop]
        scales = np.repeat(scales[..., np.arange(first, last) // self._block[0], :], self._block[1], axis=-1)
        numbers *= scales[..., :columns]
        return numbers
