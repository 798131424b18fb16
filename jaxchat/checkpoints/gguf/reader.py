"""Reads the tensors of GGUF files by their Hugging Face names."""

from __future__ import annotations

import mmap
from pathlib import Path

import numpy as np

from jaxchat.checkpoints.gguf.blocks import floats, is_quantised, quantised_rows
from jaxchat.checkpoints.gguf.header import StoredTensor
from jaxchat.checkpoints.gguf.manifest import open_view
from jaxchat.checkpoints.gguf.names import Origin, row_order
from jaxchat.checkpoints.tensor_reader import HEADS, MAPPED, TensorReader
from jaxchat.checkpoints.tensor_slices import TensorSlice
from jaxchat.errors import ModelError
from jaxchat.quantised import QuantisedRows, joined


class GgufReader(TensorReader):
    """A reader of the GGUF files that a view (see `gguf.view`) was made from.

    Tensors have the names, shapes and order of rows of the Hugging Face checkpoint that the file was made from.
    """

    def __init__(self, directory: Path) -> None:
        """Opens the GGUF files of the view `directory`.

        Raises:
            ModelError: a file is missing, damaged, or changed since the view was made.
        """
        self._file, self._origins = open_view(directory)
        self.files = {name: self._first(origin).path for name, origin in self._origins.items()}
        self._mapped = {path: _map(path) for path in self._file.paths}
        self._unreleased = 0  # bytes read since the last release

    def shape(self, name: str) -> tuple[int, ...]:
        """Returns the shape of a tensor in `files`."""
        return self._origins[name].shape

    def dtype(self, name: str) -> str:
        """Returns the dtype of a tensor in `files`: "F32" if it is quantised, otherwise the stored dtype."""
        kind = self._first(self._origins[name]).type.name
        return kind if kind in ("F16", "BF16") else "F32"

    def read(self, part: TensorSlice) -> np.ndarray:
        """Returns the rows of a stored tensor that `part` selects, `[rows, ..]`. Quantised rows become f32.

        Raises:
            ModelError: the rows are damaged.
        """
        origin = self._origins[part.name]
        start, end = part.rows or (0, origin.shape[0])
        try:
            if origin.compose:
                stored = (self._file.tensors[name] for name in origin.tensors)
                return origin.compose(*(self._entries(tensor, start, end) for tensor in stored))
            tensor = self._first(origin)
            raw = self._rows(origin, start, end)
            numbers = floats(tensor.type, raw).reshape(-1, *origin.shape[1:])
        except ModelError as error:
            raise self._damaged(part.name, error) from None
        if len(origin.shape) == 1:
            numbers = numbers[_selected(origin, start, end)]
        if not origin.added:
            return numbers
        return np.asarray(numbers, np.float32) - np.float32(origin.added)

    def quantised(self, part: TensorSlice) -> QuantisedRows | None:
        """Returns the rows that `part` selects as they are stored, or None if they are not quantised rows.

        Raises:
            ModelError: the rows are damaged.
        """
        origin = self._origins[part.name]
        kind = self._first(origin).type
        start, end = part.rows or (0, origin.shape[0])
        if not is_quantised(kind) or len(origin.shape) != (3 if origin.compose else 2):
            return None
        try:
            if origin.compose:
                return self._entry(origin, start) if end - start == 1 else None
            return quantised_rows(kind, self._rows(origin, start, end))
        except ModelError as error:
            raise self._damaged(part.name, error) from None

    def release(self) -> None:
        """Frees the memory of all files read so far."""
        for mapped in self._mapped.values():
            mapped.madvise(mmap.MADV_DONTNEED)
        self._unreleased = 0

    def missing(self, name: str) -> ModelError:
        """Returns the error about a missing tensor."""
        if name in HEADS:
            return ModelError(f"{self._file.path}: tensor output.weight is missing")
        return ModelError(f"{self._file.path}: the tensor that corresponds to {name} is missing")

    def _first(self, origin: Origin) -> StoredTensor:
        return self._file.tensors[origin.tensors[0]]

    def _rows(self, origin: Origin, start: int, end: int) -> np.ndarray:
        """Returns the stored bytes of the rows from `start` to `end - 1`, u8 `[rows, bytes]`.

        A vector is returned whole, as one row.
        """
        raw = self._bytes(self._first(origin))
        if len(origin.shape) == 1:
            return raw if origin.entry is None else raw[origin.entry : origin.entry + 1]
        count = int(np.prod(origin.shape[1:-1]))  # rows in an entry of the first axis
        offset = 0 if origin.entry is None else origin.entry * origin.shape[0] * count
        rows = raw[offset + start * count : offset + end * count]
        if origin.heads:
            rows = raw[_selected(origin, start, end)]
        self._count(rows)
        return rows

    def _entries(self, tensor: StoredTensor, start: int, end: int) -> np.ndarray:
        """Returns the entries `start` to `end - 1` of the first axis of a stored tensor, f32 `[entries, ...]`."""
        rows = self._rows(Origin((tensor.name,), tensor.shape), start, end)
        return floats(tensor.type, rows).reshape(end - start, *tensor.shape[1:])

    def _entry(self, origin: Origin, entry: int) -> QuantisedRows | None:
        """Returns the rows of one expert. If several tensors hold the expert, their rows alternate in the result.

        Returns None if these tensors have different types.
        """
        tensors = [self._file.tensors[name] for name in origin.tensors]
        if len({tensor.type for tensor in tensors}) > 1:
            return None
        raw = (self._rows(Origin((tensor.name,), tensor.shape), entry, entry + 1) for tensor in tensors)
        rows = joined([quantised_rows(tensors[0].type, each) for each in raw])
        return rows[np.arange(rows.shape[0]).reshape(len(tensors), -1).T.ravel()]

    def _bytes(self, tensor: StoredTensor) -> np.ndarray:
        """Returns the stored bytes of a tensor, u8 `[rows, bytes]`, as a view of the file."""
        data = np.frombuffer(self._mapped[tensor.path], np.uint8, tensor.size, tensor.offset)
        return data.reshape(-1, tensor.type.bytes_of(tensor.shape[-1]))

    def _count(self, rows: np.ndarray) -> None:
        self._unreleased += rows.nbytes
        if self._unreleased > MAPPED:
            self.release()

    def _damaged(self, name: str, error: ModelError) -> ModelError:
        tensor = self._first(self._origins[name])
        return ModelError(f"{tensor.path}: tensor {tensor.name}: {error}")


def _selected(origin: Origin, start: int, end: int) -> np.ndarray | slice:
    """Returns the indices in the file of the rows from `start` to `end - 1`."""
    if not origin.heads:
        return slice(start, end)
    return row_order(origin.shape[0], origin.heads)[start:end]


def _map(path: Path) -> mmap.mmap:
    try:
        with path.open("rb") as file:
            return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except (OSError, ValueError) as error:
        raise ModelError(f"{path}: cannot be read ({error})") from None
