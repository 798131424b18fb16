"""Converts Hugging Face safetensors to the decoder's nested parameter dict and back, one tensor at a time."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from safetensors.numpy import save_file

from jaxchat.checkpoints.hf_mapping import stored_slices, unused
from jaxchat.checkpoints.open_tensors import open_tensors
from jaxchat.checkpoints.stored_config import has_other_head
from jaxchat.checkpoints.tensor_reader import MAPPED, TensorReader
from jaxchat.checkpoints.tensor_slices import Shape, Slices, TensorSlice
from jaxchat.errors import ModelError
from jaxchat.models.config import ModelConfig
from jaxchat.models.param_specs import ParamPath, ParamSpec, insert, param_at, param_specs
from jaxchat.quantised import QuantisedRows
from jaxchat.types import Progress

Place = Callable[[ParamPath, np.ndarray], Any]
"""`place(path, array)` puts one finished parameter on its device or devices, possibly in another form."""
Piece = tuple[TensorSlice, QuantisedRows | np.ndarray]
"""A part of a parameter as it is stored: rows `[out, in]`, quantised or not."""
Keep = Callable[[ParamPath, Sequence[Piece]], Any]
"""`keep(path, pieces)` puts a parameter that is stored as quantised rows on its device as it is, or returns None."""


def load_hf(
    directory: Path,
    config: ModelConfig,
    *,
    dtype: str = "float32",
    place: Place | None = None,
    keep: Keep | None = None,
    progress: Progress = lambda done, total: None,
) -> tuple[dict[str, Any], str]:
    """Loads every parameter of `config` from the stored tensors of `directory`.

    Args:
        directory: the model directory.
        config: the configuration of the model.
        dtype: dtype of the loaded parameters, "float32" or "bfloat16".
        place: puts each finished parameter on its devices; by default on the default device.
        keep: called for each quantised parameter that `keepable` allows, with its path and stored pieces. Returns the
            parameter in quantised form, or None to have it dequantised. By default, all are dequantised.
        progress: called with the number of parameters read and their total number.

    Returns:
        The nested parameter dict and the SHA-256 (hex) of all tensors read, in a fixed order.

    Raises:
        ModelError: a file or tensor is missing or damaged, or does not fit `config`. The message names the file or
            directory, and the tensor if one is at fault.
    """
    place = place or (lambda path, array: jax.device_put(array))
    shards = open_tensors(directory)
    stored = stored_parameters(shards, config)
    specs = param_specs(config)
    _check(shards, stored, config)
    digest = hashlib.sha256()
    params: dict[str, Any] = {}
    for done, (path, slices) in enumerate(stored.items()):
        progress(done, len(stored))
        kept = _kept(shards, path, slices, keep, digest) if keep and keepable(path, specs[path]) else None
        if kept is None:
            kept = place(path, _assemble(shards, specs[path].shape, slices, jnp.dtype(dtype), digest))
        insert(params, path, kept)
    progress(len(stored), len(stored))
    return params, digest.hexdigest()


def save_hf(params: dict[str, Any], config: ModelConfig, directory: Path, dtype: str = "bfloat16") -> None:
    """Writes `directory/model.safetensors` with Hugging Face names. The caller writes `config.json`.

    Args:
        params: the nested parameter dict.
        config: the configuration of the model.
        directory: an existing directory.
        dtype: dtype of the written tensors, "float32" or "bfloat16".
    """
    tensors: dict[str, np.ndarray] = {}
    for path, slices in stored_slices(config).items():
        array = np.asarray(param_at(params, path).astype(jnp.float32))
        for part in slices:
            tensor = tensors.setdefault(part.name, np.empty(part.stored_shape, jnp.dtype(dtype)))
            tensor[slice(*part.rows) if part.rows else ...] = part.to_stored(array[part.place])
    save_file(tensors, directory / "model.safetensors", metadata={"format": "pt"})


def stored_parameters(shards: TensorReader, config: ModelConfig) -> dict[ParamPath, Slices]:
    """Returns the stored tensors of every parameter.

    If the family has several sets of names, uses the set that fits the most stored tensors.

    Args:
        shards: reader of the stored tensors.
        config: the configuration of the model.
    """
    prefix, head = shards.prefix(config.names.prefixes), shards.head()
    forms = [
        stored_slices(replace(config, names=names), prefix, head) for names in (config.names, *config.names.others)
    ]
    if len(forms) == 1:
        return forms[0]
    return max(forms, key=lambda form: sum(shards.fits(part) for slices in form.values() for part in slices))


def _check(shards: TensorReader, stored: dict[ParamPath, Slices], config: ModelConfig) -> None:
    """Raises ModelError, before memory is allocated, if the tensors do not fit the model.

    Tensors that belong to no parameter are errors too, because the decoder would silently omit them.
    """
    parts = [part for slices in stored.values() for part in slices]
    shards.check_rows(stored["embed",][0].name, config.vocab_size)
    for part in parts:
        shards.check(part)
    names = {part.name for part in parts}
    for name, path in shards.files.items():
        if name not in names and not unused(config, name) and not shards.has_no_effect(name):
            raise ModelError(f"{path}: tensor {name} does not belong to the model that config.json describes")
    if config.tie_embeddings and has_other_head(shards, config):
        raise ModelError(
            f"{shards.files[shards.head()]}: tensor {shards.head()} differs from the embedding, although "
            "tie_word_embeddings is true; set it to false"
        )


def keepable(path: ParamPath, spec: ParamSpec) -> bool:
    """Returns whether a parameter may stay quantised: True for the embedding and for weights of matrix products."""
    return bool(spec.contracted) or path == ("embed",)


def _kept(shards: TensorReader, path: ParamPath, slices: Slices, keep: Keep, digest: Any) -> Any:
    """Returns a parameter in its stored form, or None if it is not quantised or cannot be kept."""
    rows = [shards.quantised(part) for part in slices]
    if not any(rows):
        return None
    pieces = [(part, shards.read(part) if each is None else each) for part, each in zip(slices, rows, strict=True)]
    kept = keep(path, pieces)
    if kept is not None:
        for part, each in pieces:
            arrays = each.arrays if isinstance(each, QuantisedRows) else (each,)
            digest.update(f"{part.name}{[(array.dtype.str, array.shape) for array in arrays]}".encode())
            for array in arrays:
                digest.update(np.ascontiguousarray(array).view(np.uint8).data)
        shards.release()
    return kept


def _assemble(shards: TensorReader, shape: Shape, slices: Slices, dtype: np.dtype, digest: Any) -> np.ndarray:
    array = _aligned(shape, dtype)
    for part in slices:
        tensor = shards.read(part)
        digest.update(f"{part.name}{tensor.dtype}{tensor.shape}".encode())
        digest.update(np.ascontiguousarray(tensor).view(np.uint8).data)
        array[part.place] = part.from_stored(tensor)
    if array.nbytes > MAPPED // 4:  # free memory first: placing and packing may hold it twice
        shards.release()
    return array


def _aligned(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """Returns an uninitialised array, aligned to 64 bytes. XLA:CPU would copy an array that is not aligned."""
    size = math.prod(shape) * dtype.itemsize
    memory = np.empty(size + 64, np.uint8)
    start = -memory.ctypes.data % 64
    return memory[start : start + size].view(dtype).reshape(shape)
