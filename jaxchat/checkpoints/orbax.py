"""Orbax checkpoints: the native format, restored directly onto the mesh that serves, without a pass through the
host.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from jaxchat.errors import ModelError
from jaxchat.kernels.attention.reference import causal
from jaxchat.model_directory import read_object
from jaxchat.models.config import ModelConfig
from jaxchat.models.decoder import Decoder

FOLDER, MANIFEST = "orbax", "orbax.json"
PIECE = 1 << 26  # bytes of a chunk, the unit of reads; a device does not need to read the chunks of others
ShardingOf = Callable[[tuple[str, ...], tuple[int, ...]], jax.sharding.Sharding]


def has_orbax(directory: Path) -> bool:
    """Returns whether a model directory contains an Orbax checkpoint."""
    return (directory / MANIFEST).exists() or (directory / FOLDER).is_dir()


def save_orbax(params: dict[str, Any], directory: Path, digest: str) -> None:
    """Writes `directory/orbax`, then the manifest `directory/orbax.json`, which lists its contents.

    `digest` is the digest of the original weights, which is part of the fingerprint.
    """
    checkpoint, folder = _orbax(), (directory / FOLDER).absolute()
    with checkpoint.StandardCheckpointer() as saver:
        pieces = jax.tree.map(lambda leaf: checkpoint.SaveArgs(chunk_byte_size=PIECE), params)
        saver.save(folder, params, save_args=pieces)
    shapes = {".".join(path): list(leaf.shape) for path, leaf in _flat(params)}
    files = {str(file.relative_to(folder)): file.stat().st_size for file in _files(folder)}
    (directory / MANIFEST).write_text(json.dumps({"digest": digest, "parameters": shapes, "files": files}, indent=1))


def restore_orbax(
    directory: Path, config: ModelConfig, *, dtype: str, sharding: ShardingOf
) -> tuple[dict[str, Any], str]:
    """Reads `directory/orbax`, each parameter directly to its sharding; returns parameters and digest.

    Raises:
        ModelError: the checkpoint is damaged or does not fit `config`; names the file or the parameter.
    """
    expected = shapes(config)
    digest = _checked(directory, {".".join(path): list(leaf.shape) for path, leaf in _flat(expected)})

    def placed(keys: tuple[Any, ...], leaf: jax.ShapeDtypeStruct) -> jax.ShapeDtypeStruct:
        place = sharding(tuple(key.key for key in keys), leaf.shape)
        return jax.ShapeDtypeStruct(leaf.shape, jnp.dtype(dtype), sharding=place)

    folder, checkpoint = (directory / FOLDER).absolute(), _orbax()
    target = jax.tree_util.tree_map_with_path(placed, expected)
    params: dict[str, Any] = dict.fromkeys(expected)
    try:
        with checkpoint.PyTreeCheckpointer() as reader:
            # One layer after the other, the largest first: Orbax holds what it reads at once two or three times.
            for name in sorted(expected, key=lambda name: _size(expected[name]), reverse=True):
                part = {name: target[name]}
                places = checkpoint.checkpoint_utils.construct_restore_args(part)
                restore_args = checkpoint.args.PyTreeRestore(item=part, restore_args=places, partial_restore=True)
                params[name] = reader.restore(folder, args=restore_args)[name]
    except Exception as error:  # Orbax raises bare exceptions, with many lines
        first = (str(error).splitlines() or [type(error).__name__])[0]
        raise ModelError(f"{folder}: cannot be restored ({first:.300})") from None
    return params, digest


def shapes(config: ModelConfig) -> dict[str, Any]:
    """Returns the parameter tree as shapes, without allocating memory."""
    ids = jax.ShapeDtypeStruct((2,), jnp.int32)

    def init(ids: jax.Array) -> Any:
        return Decoder(config).init(jax.random.key(0), ids, ids, attend=causal)["params"]

    tree: dict[str, Any] = jax.eval_shape(init, ids)
    return tree


def _checked(directory: Path, expected: dict[str, list[int]]) -> str:
    """Returns the digest of a checkpoint, after checking that it has all its files and the expected parameters.

    Orbax itself notices damage only while it reads, and may then print stack traces from its threads.

    Raises:
        ModelError: a file or parameter is missing, surplus, or of another size or shape.
    """
    path, folder = directory / MANIFEST, directory / FOLDER
    manifest = read_object(path)
    digest, stored, files = (manifest.get(key) for key in ("digest", "parameters", "files"))
    if not isinstance(digest, str) or not isinstance(stored, dict) or not isinstance(files, dict):
        raise ModelError(f"{path}: must have digest, parameters and files")
    for name, size in files.items():
        file = folder / name
        if not file.is_file():
            raise ModelError(f"{file}: not found, though {MANIFEST} lists it")
        if file.stat().st_size != size:
            raise ModelError(f"{file}: has {file.stat().st_size} bytes, expected {size}")
    for name in sorted(expected.keys() | stored.keys()):
        if name not in stored:
            raise ModelError(f"{folder}: parameter {name} is missing")
        if name not in expected:
            raise ModelError(f"{folder}: parameter {name} does not belong to the model that config.json describes")
        if stored[name] != expected[name]:
            raise ModelError(f"{folder}: parameter {name} has shape {stored[name]}, expected {expected[name]}")
    return digest


def _size(tree: Any) -> int:
    return sum(leaf.size for leaf in jax.tree.leaves(tree))


def _flat(tree: dict[str, Any]) -> Iterator[tuple[tuple[str, ...], Any]]:
    for keys, leaf in jax.tree_util.tree_flatten_with_path(tree)[0]:
        yield tuple(key.key for key in keys), leaf


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _orbax() -> Any:
    try:
        from orbax import checkpoint  # slow to import, and used only here
    except ImportError:
        raise ModelError("Orbax checkpoints need `pip install 'jaxchat[orbax]'`") from None
    return checkpoint
