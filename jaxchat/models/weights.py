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
from jaxchat.models.naming import Part, parts, to_hugging_face

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
    digest = hashlib.sha256()
    params: dict[str, Any] = {}
    table = parts(config)
    for done, (path, sources) in enumerate(table.items()):
        progress(done, len(table))
        array = _assemble(shards, sources, config, jnp.dtype(dtype), digest)
        _insert(params, path, place(path, array))
    progress(len(table), len(table))
    return params, digest.hexdigest()


def save_hf(params: dict[str, Any], config: ModelConfig, directory: Path, dtype: str = "bfloat16") -> None:
    """Writes `model.safetensors` under Hugging Face names; `config.json` is the caller's."""
    tensors = {}
    for path, sources in parts(config).items():
        array = np.asarray(_lookup(params, path).astype(jnp.float32))
        for name, piece in to_hugging_face(path, array, sources, config):
            tensors[name] = np.ascontiguousarray(piece).astype(jnp.dtype(dtype))
    save_file(tensors, directory / "model.safetensors", metadata={"format": "pt"})


class Shards:
    """The safetensors files of a directory as one mapping from tensor name to array."""

    def __init__(self, directory: Path) -> None:
        self.files = dict(_index(directory))
        self.opened: dict[Path, Any] = {}

    def read(self, name: str) -> np.ndarray:
        """One tensor. Raises ModelError naming file and tensor."""
        path = self.files.get(name)
        if path is None:
            known = next(iter(self.files.values())).parent if self.files else "the model folder"
            raise ModelError(f"{known}: tensor {name} is missing from the safetensors files")
        try:
            if path not in self.opened:
                self.opened[path] = safe_open(path, framework="numpy")
            return self.opened[path].get_tensor(name)
        except FileNotFoundError:
            raise ModelError(f"{path}: not found, though it should hold tensor {name}") from None
        except (SafetensorError, OSError) as error:
            raise ModelError(f"{path}: cannot read tensor {name} ({error})") from None


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


def _assemble(
    shards: Shards, sources: tuple[Part, ...], config: ModelConfig, dtype: np.dtype, digest: Any
) -> np.ndarray:
    pieces = []
    for part in sources:
        tensor = shards.read(part.name)
        if tensor.shape != part.stored_shape:
            file = shards.files[part.name]
            raise ModelError(f"{file}: tensor {part.name} has shape {tensor.shape}, expected {part.stored_shape}")
        if tensor.dtype.kind != "f" and tensor.dtype != jnp.bfloat16:
            raise ModelError(f"{shards.files[part.name]}: tensor {part.name} has dtype {tensor.dtype}, not floating")
        digest.update(f"{part.name}{tensor.dtype}{tensor.shape}".encode())
        digest.update(np.ascontiguousarray(tensor).view(np.uint8).data)
        pieces.append(part.from_stored(tensor))
    joined = pieces[0] if len(pieces) == 1 else np.concatenate(pieces, axis=sources[0].axis)
    return np.ascontiguousarray(joined.astype(dtype))


def _insert(tree: dict[str, Any], path: tuple[str, ...], leaf: jax.Array) -> None:
    for key in path[:-1]:
        tree = tree.setdefault(key, {})
    tree[path[-1]] = leaf


def _lookup(tree: dict[str, Any], path: tuple[str, ...]) -> jax.Array:
    node: Any = tree
    for key in path:
        node = node[key]
    return node
