"""The base class of readers of stored tensors. There is one reader for each file format."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path

import numpy as np

from jaxchat.checkpoints.tensor_slices import TensorSlice
from jaxchat.errors import ModelError
from jaxchat.quantised import QuantisedRows

FLOATING = ("F64", "F32", "F16", "BF16")  # as safetensors spells dtypes
PREFIXES = ("model.", "", "language_model.model.", "model.language_model.", "language_model.")
"""Prefixes of tensor names that are tried after those of the family."""
HEADS = ("lm_head.weight", "language_model.lm_head.weight", "model.lm_head.weight")
MAPPED = 1 << 24  # bytes; files are mapped, and the pages that were read take memory until `release`


class TensorReader(ABC):
    """A reader of the tensors of a model by their Hugging Face names.

    All methods that read a file raise ModelError if the file is damaged. The message names the file, and the tensor if
    one is at fault.
    """

    files: dict[str, Path]
    """The file of each tensor."""

    @abstractmethod
    def shape(self, name: str) -> tuple[int, ...]:
        """Returns the shape of a tensor in `files`."""

    @abstractmethod
    def dtype(self, name: str) -> str:
        """Returns the dtype of what `read` returns for a tensor in `files`, as safetensors spells it."""

    @abstractmethod
    def read(self, part: TensorSlice) -> np.ndarray:
        """Returns the rows of a stored tensor that `part` selects, floating-point numbers `[rows, ..]`."""

    @abstractmethod
    def release(self) -> None:
        """Frees the memory of all files read so far."""

    @abstractmethod
    def missing(self, name: str) -> ModelError:
        """Returns the error about a missing tensor."""

    def quantised(self, part: TensorSlice) -> QuantisedRows | None:
        """Returns the rows that `part` selects as they are stored, or None if they are not stored as quantised rows.

        `dequantised` of the result equals `read(part)`.
        """
        return None

    def has_no_effect(self, name: str) -> bool:
        """Returns whether a tensor in `files` changes nothing, such as a bias of zeros.

        A model that has no such parameter may then ignore the tensor.
        """
        return False

    def prefix(self, known: tuple[str, ...]) -> str:
        """Returns the first prefix under which an embedding is stored, or `known[0]` if none is stored.

        Tries the prefixes in `known`, then those in `PREFIXES`.
        """
        prefixes = (*known, *PREFIXES)
        return next((prefix for prefix in prefixes if f"{prefix}embed_tokens.weight" in self.files), known[0])

    def head(self) -> str:
        """Returns the first of `HEADS` that is stored, or `HEADS[0]` if none is."""
        return next((name for name in HEADS if name in self.files), HEADS[0])

    def dtypes(self) -> set[str]:
        """Returns the dtypes of all tensors."""
        return {self.dtype(name) for name in self.files}

    def fits(self, part: TensorSlice) -> bool:
        """Returns whether the tensor `part.name` is stored with the shape `part.stored_shape`."""
        return part.name in self.files and self.shape(part.name) == part.stored_shape

    def check_rows(self, embedding: str, vocab_size: int) -> None:
        """Raises ModelError if the tensor `embedding` is stored with more or fewer than `vocab_size` rows."""
        shape = self.shape(embedding) if embedding in self.files else ()
        if shape and shape[0] != vocab_size:
            raise ModelError(
                f"{self.files[embedding]}: tensor {embedding} has {shape[0]} rows, but config.json: vocab_size is "
                f"{vocab_size}"
            )

    def check(self, part: TensorSlice) -> None:
        """Raises ModelError if the tensor `part.name` is missing, of another shape, or not floating-point."""
        path = self.files.get(part.name)
        if path is None:
            raise self.missing(part.name)
        shape, dtype = self.shape(part.name), self.dtype(part.name)
        if shape != part.stored_shape:
            raise ModelError(f"{path}: tensor {part.name} has shape {shape}, expected {part.stored_shape}")
        if dtype not in FLOATING:
            raise ModelError(f"{path}: tensor {part.name} has dtype {dtype}, supported: {', '.join(FLOATING)}")
