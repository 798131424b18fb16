"""Hugging Face safetensors to the decoder's parameter tree and back, one tensor at a time."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from jaxchat.errors import ModelError
from jaxchat.models.config import ModelConfig
from jaxchat.models.naming import parameters, unused
from jaxchat.models.parts import Parameter, Part

Place = Callable[[tuple[str, ...], np.ndarray], jax.Array]
"""`place(path, array)` puts one finished parameter on its device or devices."""
Progress = Callable[[int, int], None]
"""`progress(done, total)` in parameters."""


def load_hf(
    directory: Path,
    config: ModelConfig,
    *,
    dtype: str = "float32",
    place: Place | None = None,
    progress: Progress = lambda done, total: None,
) -> tuple[dict[str, Any], str]:
    """Loads every parameter of `config` from the safetensors files of `directory`, possibly sharded.

    Returns:
        The nested parameter dict and the SHA-256 (hex) of all tensors read, in a fixed order.

    Raises:
        ModelError: a file or tensor is missing, damaged or of another shape; names the file and the tensor.
    """
    place = place or (lambda path, array: jax.device_put(array))
    shards = Shards(directory)
    table = parameters(config, shards.prefix(config.names.prefixes))
    _refuse_others(shards, table, config)
    digest = hashlib.sha256()
    params: dict[str, Any] = {}
    for done, (path, parameter) in enumerate(table.items()):
        progress(done, len(table))
        _insert(params, path, place(path, _assemble(shards, parameter, jnp.dtype(dtype), digest)))
    progress(len(table), len(table))
    return params, digest.hexdigest()


def save_hf(params: dict[str, Any], config: ModelConfig, directory: Path, dtype: str = "bfloat16") -> None:
    """Writes `model.safetensors` under Hugging Face names; `config.json` is the caller's."""
    tensors: dict[str, np.ndarray] = {}
    for path, parameter in parameters(config).items():
        array = np.asarray(_lookup(params, path).astype(jnp.float32))
        for part in parameter.parts:
            tensor = tensors.setdefault(part.name, np.empty(part.stored_shape, jnp.dtype(dtype)))
            tensor[slice(*part.rows) if part.rows else ...] = part.to_stored(array[part.place])
    save_file(tensors, directory / "model.safetensors", metadata={"format": "pt"})


class Shards:
    """The safetensors files of a directory as one mapping from tensor name to array."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.files = dict(_index(directory))
        self.opened: dict[Path, Any] = {}

    def prefix(self, known: tuple[str, ...]) -> str:
        """That of the `known` prefixes which the names begin with, the first where none does."""
        return next((prefix for prefix in known if f"{prefix}embed_tokens.weight" in self.files), known[0])

    def read(self, part: Part) -> np.ndarray:
        """The rows of a stored tensor that `part` wants. Raises ModelError naming file and tensor."""
        path = self.files.get(part.name)
        if path is None:
            raise ModelError(f"{self.directory}: tensor {part.name} is missing from the safetensors files")
        try:
            if path not in self.opened:
                self.opened[path] = safe_open(path, framework="numpy")
            stored = self.opened[path].get_slice(part.name)
            shape = tuple(stored.get_shape())
            if shape != part.stored_shape:
                raise ModelError(f"{path}: tensor {part.name} has shape {shape}, expected {part.stored_shape}")
            tensor: np.ndarray = stored[slice(*part.rows)] if part.rows else self.opened[path].get_tensor(part.name)
        except FileNotFoundError:
            raise ModelError(f"{path}: not found, though it should hold tensor {part.name}") from None
        except (SafetensorError, OSError) as error:
            raise ModelError(f"{path}: cannot read tensor {part.name} ({error})") from None
        if tensor.dtype.kind != "f" and tensor.dtype != jnp.bfloat16:
            raise ModelError(f"{path}: tensor {part.name} has dtype {tensor.dtype}, not floating")
        return tensor


def _index(directory: Path) -> Iterator[tuple[str, Path]]:
    index = directory / "model.safetensors.index.json"
    single = directory / "model.safetensors"
    if index.exists():
        try:
            names = json.loads(index.read_text("utf-8"))["weight_map"]
        except (ValueError, KeyError) as error:
            raise ModelError(f"{index}: not a safetensors index ({error!r})") from None
        yield from ((name, directory / file) for name, file in names.items())
    elif single.exists():
        try:
            with safe_open(single, framework="numpy") as file:
                yield from ((name, single) for name in file.keys())  # noqa: SIM118 - no mapping
        except SafetensorError as error:
            raise ModelError(f"{single}: not a readable safetensors file ({error})") from None
    else:
        raise ModelError(f"{directory}: holds neither model.safetensors nor model.safetensors.index.json")


def _refuse_others(shards: Shards, table: dict[tuple[str, ...], Parameter], config: ModelConfig) -> None:
    """Refuses tensors that no parameter is made of: what they stand for would be left out of the computation."""
    wanted = {part.name for parameter in table.values() for part in parameter.parts}
    for name, path in shards.files.items():
        if name not in wanted and not unused(config, name):
            raise ModelError(f"{path}: tensor {name} does not belong to the model that config.json describes")


def _assemble(shards: Shards, parameter: Parameter, dtype: np.dtype, digest: Any) -> np.ndarray:
    array = np.empty(parameter.shape, dtype)
    for part in parameter.parts:
        tensor = shards.read(part)
        digest.update(f"{part.name}{tensor.dtype}{tensor.shape}".encode())
        digest.update(np.ascontiguousarray(tensor).view(np.uint8).data)
        array[part.place] = part.from_stored(tensor)
    return array


def _insert(tree: dict[str, Any], path: tuple[str, ...], leaf: jax.Array) -> None:
    for key in path[:-1]:
        tree = tree.setdefault(key, {})
    tree[path[-1]] = leaf


def _lookup(tree: dict[str, Any], path: tuple[str, ...]) -> jax.Array:
    node: Any = tree
    for key in path:
        node = node[key]
    return node
