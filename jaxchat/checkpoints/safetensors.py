"""The safetensors files of a model directory as one mapping from tensor name to array."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open

from jaxchat.checkpoints.mxfp4 import BLOCKS, SCALES, Mxfp4
from jaxchat.checkpoints.tensor_slices import TensorSlice
from jaxchat.errors import ModelError
from jaxchat.model_directory import read_object

SINGLE, INDEX = "model.safetensors", "model.safetensors.index.json"
FLOATING = ("F64", "F32", "F16", "BF16")  # as safetensors spells dtypes

MAPPED = 1 << 24  # bytes; files are mapped, and the pages that were read take memory until the file is reopened


class SafetensorsReader:
    """A reader that opens every file at once, so that missing or damaged files show before anything is read.

    `files` maps each tensor to its file; a tensor in MXFP4 has the name and shape of the decoded one.

    All methods raise ModelError naming file and tensor.
    """

    def __init__(self, directory: Path) -> None:
        """Opens the files of `directory` and checks them against the index."""
        self.directory = directory
        self._stored = _files_of_tensors(directory)
        self._opened = {path: _open(path) for path in sorted(set(self._stored.values()))}
        self._mapped: Counter[Path] = Counter()  # bytes read of each file since it was opened
        for path, file in self._opened.items():
            self._check_listing(path, set(file.keys()))
        self._packed = {name.removesuffix(BLOCKS) for name in self._stored if name.endswith(BLOCKS)}
        halves = {f"{name}{half}" for name in self._packed for half in (BLOCKS, SCALES)}
        self.files = {name: path for name, path in self._stored.items() if name not in halves}
        self.files |= {name: self._stored[f"{name}{BLOCKS}"] for name in sorted(self._packed)}

    def prefix(self, known: tuple[str, ...]) -> str:
        """Returns the first of the `known` prefixes that occurs in the names; the first of all if none does."""
        return next((prefix for prefix in known if f"{prefix}embed_tokens.weight" in self.files), known[0])

    def dtypes(self) -> set[str]:
        """Returns the dtypes of all tensors, in the notation of safetensors."""
        return {self._slice(name).get_dtype() for name in self.files}

    def check(self, part: TensorSlice) -> None:
        """Raises ModelError if the tensor of `part` is missing, of another shape, or not floating-point."""
        path = self.files.get(part.name)
        if path is None:
            raise ModelError(f"{self.directory}: tensor {part.name} is missing from the safetensors files")
        stored = self._slice(part.name)
        shape, dtype = tuple(stored.get_shape()), stored.get_dtype()
        if shape != part.stored_shape:
            raise ModelError(f"{path}: tensor {part.name} has shape {shape}, expected {part.stored_shape}")
        if dtype not in FLOATING:
            raise ModelError(f"{path}: tensor {part.name} has dtype {dtype}, supported: {', '.join(FLOATING)}")

    def read(self, part: TensorSlice) -> np.ndarray:
        """Returns the rows of a stored tensor that `part` selects."""
        path = self.files[part.name]
        try:
            stored = self._slice(part.name)
            tensor: np.ndarray = stored[slice(*part.rows)] if part.rows else self._opened[path].get_tensor(part.name)
        except (SafetensorError, OSError) as error:
            raise ModelError(f"{path}: cannot read tensor {part.name} ({error})") from None
        self._mapped[path] += tensor.nbytes
        if self._mapped.total() > MAPPED:
            self._opened |= {read: _open(read) for read in self._mapped}
            self._mapped.clear()
        return tensor

    def _slice(self, name: str) -> Any:
        """Returns the slice of a tensor, which may be stored as two."""
        if name not in self._packed:
            return self._opened[self.files[name]].get_slice(name)
        if f"{name}{SCALES}" not in self._stored:
            raise ModelError(f"{self.directory}: tensor {name}{SCALES} is missing from the safetensors files")
        halves = (f"{name}{half}" for half in (BLOCKS, SCALES))
        try:
            return Mxfp4(*(self._opened[self._stored[half]].get_slice(half) for half in halves))
        except ModelError as error:
            raise ModelError(f"{self.files[name]}: tensor {name}: {error}") from None

    def _check_listing(self, path: Path, names: set[str]) -> None:
        listed = {name for name, file in self._stored.items() if file == path}
        if missing := listed - names:
            raise ModelError(f"{path}: does not contain tensor {min(missing)}, although {INDEX} lists it")
        if unlisted := names - listed:
            raise ModelError(f"{path}: holds tensor {min(unlisted)}, which {INDEX} does not list")


def _files_of_tensors(directory: Path) -> dict[str, Path]:
    """Returns the file of each tensor."""
    index, single = directory / INDEX, directory / SINGLE
    if index.exists():
        return dict(_files_in_index(index))
    if single.exists():
        return dict.fromkeys(_open(single).keys(), single)
    raise ModelError(f"{directory}: holds neither {SINGLE} nor {INDEX}")


def _files_in_index(index: Path) -> Iterator[tuple[str, Path]]:
    names = read_object(index).get("weight_map")
    if not isinstance(names, dict):
        raise ModelError(f"{index}: weight_map must be an object, got {names!r:.200}")
    for name, file in names.items():
        if not isinstance(file, str) or Path(file).name != file:
            raise ModelError(f"{index}: weight_map.{name} must be the name of a file beside it, got {file!r:.200}")
        if not (index.parent / file).exists():
            raise ModelError(f"{index.parent / file}: not found, though {INDEX} says that it holds tensor {name}")
        yield name, index.parent / file


def _open(path: Path) -> Any:
    try:
        return safe_open(path, framework="numpy")
    except (SafetensorError, OSError, ValueError) as error:
        raise ModelError(f"{path}: not a readable safetensors file ({error})") from None
