"""The safetensors files of a model directory as one mapping from tensor name to array."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import takewhile
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open

from jaxchat.checkpoints.float8 import E4M3, Float8File
from jaxchat.checkpoints.stored_form import CHECKPOINT_FORMS, QuantisedTensor, StoredForm
from jaxchat.checkpoints.tensor_reader import HEADS, MAPPED, TensorReader
from jaxchat.checkpoints.tensor_slices import TensorSlice
from jaxchat.errors import ModelError
from jaxchat.model_directory import INDEX, SINGLE, check_contents, read_if_there, read_object
from jaxchat.quantised import QuantisedRows

_WRAPPERS = ("module.", "base_model.model.")  # of DistributedDataParallel and of PEFT
_COMPILED = "_orig_mod."  # torch.compile adds it to the name of a compiled module


class SafetensorsReader(TensorReader):
    """A reader that opens all files when it is created, so that missing or damaged files are found first.

    `files` maps the name of each tensor to its file. The prefixes that torch wrappers add to names, such as `module.`,
    are removed. A tensor that is stored as several tensors, in a form of `CHECKPOINT_FORMS`, counts as one. It has the
    name and shape of the decoded tensor, and `files` has the file of its first part.

    All methods that read a file raise ModelError if the file is damaged. The message names the file, and the tensor if
    one is at fault.
    """

    def __init__(self, directory: Path) -> None:
        """Opens the files of `directory` and checks them against the index.

        Raises:
            ModelError: a file is missing or damaged, or differs from the index, or two tensors belong to one parameter.
        """
        self.directory = directory
        listed = _files_of_tensors(directory)
        self._opened = {path: _open(path) for path in sorted(set(listed.values()))}
        self._mapped: Counter[Path] = Counter()  # bytes read of each file since it was opened
        for path, file in self._opened.items():
            _check_listing(path, set(file.keys()), listed)
        self._names = _unwrapped(listed)
        self._stored = {name: listed[stored] for name, stored in self._names.items()}
        self._quantization = _quantization(directory)
        self._float8: dict[Path, Float8File] = {}
        self._composed = self._find_composed()
        parts = {part for _, names in self._composed.values() for part in names}
        self.files = {name: path for name, path in self._stored.items() if name not in parts}
        for name, (_, names) in self._composed.items():
            self.files[name] = next(self._stored[part] for part in names if part in self._stored)

    def shape(self, name: str) -> tuple[int, ...]:
        """Returns the shape of a tensor in `files`."""
        return tuple(self._slice(name).get_shape())

    def dtype(self, name: str) -> str:
        """Returns the dtype of a tensor in `files`, as safetensors spells it."""
        dtype: str = self._slice(name).get_dtype()
        return dtype

    def read(self, part: TensorSlice) -> np.ndarray:
        """Returns the rows of a stored tensor that `part` selects, `[rows, ..]`.

        Raises:
            ModelError: the rows cannot be read.
        """
        composed = part.name in self._composed
        stored = self._slice(part.name)
        with self._located(part.name):
            if part.rows or composed:
                tensor: np.ndarray = stored[slice(*part.rows or (None,))]
            else:
                tensor = self._opened[self.files[part.name]].get_tensor(self._names[part.name])
        self._count(part.name, tensor.size if composed else tensor.nbytes)
        return tensor

    def quantised(self, part: TensorSlice) -> QuantisedRows | None:
        """Returns the rows that `part` selects as they are stored, or None if they are not stored as quantised rows."""
        stored = self._slice(part.name) if part.name in self._composed else None
        if not isinstance(stored, QuantisedTensor):
            return None
        with self._located(part.name):
            rows = stored.quantised(slice(*part.rows or (None,)))
        self._count(part.name, rows.codes.size if rows else 0)
        return rows

    def has_no_effect(self, name: str) -> bool:
        """Returns whether a tensor is a bias of zeros that belongs to a quantised weight.

        AutoGPTQ stores such biases for models that have none.
        """
        if f"{name.removesuffix('bias')}weight" not in self._composed or not name.endswith(".bias"):
            return False
        with self._located(name):
            return not self._stored_slice(name)[:].any()

    def release(self) -> None:
        """Frees the memory of all files read so far, by reopening them."""
        self._opened |= {read: _open(read) for read in self._mapped}
        self._mapped.clear()

    def missing(self, name: str) -> ModelError:
        """Returns the error about a missing tensor. Its message has the stored names that are most like `name`."""
        packed = name.removesuffix("weight") + "qweight"
        if packed in self._stored and not self._quantization:
            return ModelError(
                f"{self.directory}: tensor {name} is stored as {packed}, the form of AWQ and GPTQ, but config.json "
                "lacks quantization_config; restore it, or use the unquantised checkpoint"
            )
        if name in HEADS:
            return ModelError(
                f"{self.directory}: tensor {name} is missing from the safetensors files; if the embedding serves as "
                "head, set tie_word_embeddings to true in config.json"
            )
        similar = sorted(self._stored, key=lambda stored: (-_common_parts(stored, name), stored))[:3]
        shown = f", which have {', '.join(similar)}" if similar else ""
        return ModelError(f"{self.directory}: tensor {name} is missing from the safetensors files{shown}")

    def _find_composed(self) -> dict[str, tuple[StoredForm, tuple[str, ...]]]:
        """Returns the form and the stored names of each tensor that is stored in a form of `CHECKPOINT_FORMS`.

        Raises:
            ModelError: a tensor is stored twice, in such a form and unquantised.
        """
        composed: dict[str, tuple[StoredForm, tuple[str, ...]]] = {}
        for _, form in CHECKPOINT_FORMS.items():
            for name, parts in form.find(self._stored.keys(), self._quantization).items():
                if name in self._stored and name not in parts:
                    raise ModelError(f"{self._stored[name]}: tensor {name} is stored beside {parts[0]}")
                composed.setdefault(name, (form, parts))
        return composed

    def _slice(self, name: str) -> Any:
        """Returns the slice of a tensor, which may be stored as several tensors."""
        if name not in self._composed:
            return self._stored_slice(name)
        form, parts = self._composed[name]
        slices = {part: self._stored_slice(part) for part in parts}
        with self._located(name):
            return form.open(name, slices, self._quantization)

    def _stored_slice(self, name: str) -> Any:
        if name not in self._stored:
            raise self.missing(name)
        path = self._stored[name]
        stored = self._opened[path].get_slice(self._names[name])
        if stored.get_dtype() != E4M3:
            return stored
        if path not in self._float8:
            self._float8[path] = Float8File(path)
        return self._float8[path].slice(self._names[name])

    @contextmanager
    def _located(self, name: str) -> Iterator[None]:
        """Turns errors about a tensor in `files` into a ModelError that names the file and the tensor."""
        try:
            yield
        except ModelError as error:
            raise ModelError(f"{self.files[name]}: tensor {name}: {error}") from None
        except (SafetensorError, OSError) as error:
            raise ModelError(f"{self.files[name]}: cannot read tensor {name} ({error})") from None

    def _count(self, name: str, size: int) -> None:
        """Counts bytes read from the file of a tensor. Releases all files after more than `MAPPED` bytes."""
        self._mapped[self.files[name]] += size
        if self._mapped.total() > MAPPED:
            self.release()


def _common_parts(first: str, second: str) -> int:
    """Returns how many parts at the beginnings of two names are equal, for example 2 for `a.b.c.d` and `a.b.x.d`."""
    pairs = zip(first.split("."), second.split("."), strict=False)
    return len(list(takewhile(lambda pair: pair[0] == pair[1], pairs)))


def _check_listing(path: Path, names: set[str], files: dict[str, Path]) -> None:
    """Raises ModelError if the tensors in a file differ from those that the index lists for the file.

    Args:
        path: the file.
        names: the tensors in the file.
        files: the file of each tensor according to the index.
    """
    listed = {name for name, file in files.items() if file == path}
    if missing := listed - names:
        raise ModelError(f"{path}: does not contain tensor {min(missing)}, although {INDEX} lists it")
    if unlisted := names - listed:
        raise ModelError(f"{path}: holds tensor {min(unlisted)}, which {INDEX} does not list")


def _unwrapped(files: dict[str, Path]) -> dict[str, str]:
    """Returns the stored name of each tensor by its name without the parts that torch wrappers add, such as `module.`.

    Raises:
        ModelError: two stored names are equal without these parts.
    """
    names: dict[str, str] = {}
    for stored, path in files.items():
        name = stored.replace(_COMPILED, "")
        while name.startswith(_WRAPPERS):
            name = next(name.removeprefix(wrapper) for wrapper in _WRAPPERS if name.startswith(wrapper))
        if name in names:
            raise ModelError(f"{path}: tensors {names[name]} and {stored} are stored for the same parameter")
        names[name] = stored
    return names


def _quantization(directory: Path) -> dict[str, Any]:
    config = read_if_there(directory / "config.json").get("quantization_config")
    return config if isinstance(config, dict) else {}


def _files_of_tensors(directory: Path) -> dict[str, Path]:
    """Returns the file of each tensor. Raises ModelError if the directory holds no weights that can be read."""
    check_contents(directory)
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
