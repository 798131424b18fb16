"""Reads tensors of 8-bit floats from safetensors files. The `safetensors` library cannot: NumPy has no such dtype."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np

from jaxchat.errors import ModelError

E4M3 = "F8_E4M3"  # as safetensors spells the dtype
_LENGTH = 8  # bytes that hold the length of the header


class Float8File:
    """A reader of the 8-bit floats in a safetensors file.

    The caller must first open the file with the `safetensors` library, because only that library checks the file.
    """

    def __init__(self, path: Path) -> None:
        """Reads the header of the file `path`. Raises ModelError if it cannot be read."""
        self.path = path
        try:
            with path.open("rb") as file:
                length = int.from_bytes(file.read(_LENGTH), "little")
                self.header: dict[str, Any] = json.loads(file.read(length))
        except (OSError, ValueError) as error:
            raise ModelError(f"{path}: not a readable safetensors file ({error})") from None
        self.start = _LENGTH + length

    def slice(self, name: str) -> Float8Slice:
        """Returns the slice of the tensor `name`, whose dtype is `E4M3`."""
        entry = self.header[name]
        return Float8Slice(self.path, entry["shape"], self.start + entry["data_offsets"][0])


class Float8Slice:
    """A tensor of 8-bit floats. It can be read like the result of safetensors' `get_slice`.

    Args:
        path: the file.
        shape: shape of the tensor.
        offset: where the tensor begins in the file, in bytes.
    """

    def __init__(self, path: Path, shape: list[int], offset: int) -> None:
        """Stores the arguments."""
        self._path, self._shape, self._offset = path, shape, offset

    def get_shape(self) -> list[int]:
        """Returns the shape of the tensor."""
        return self._shape

    def get_dtype(self) -> str:
        """Returns `E4M3`."""
        return E4M3

    def __getitem__(self, index: slice) -> np.ndarray:
        """Returns the entries in the slice `index` of the first axis, as float8_e4m3fn.

        The step of the slice must be 1.
        """
        start, stop, _ = index.indices(self._shape[0])
        size = math.prod(self._shape[1:])
        numbers = np.fromfile(self._path, np.uint8, max(stop - start, 0) * size, offset=self._offset + start * size)
        return numbers.view(ml_dtypes.float8_e4m3fn).reshape(-1, *self._shape[1:])
