"""Orbax checkpoints: the native form, restored straight onto whatever mesh serves, without a pass through the host."""

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
PIECE = 1 << 26  # bytes that are stored, and so read, together; a device need not read what is another's
ShardingOf = Callable[[tuple[str, ...], tuple[int, ...]], jax.sharding.Sharding]


def has_orbax(directory: Path) -> bool:
    """Whether a model directory holds an Orbax checkpoint."""
    return (directory / MANIFEST).exists() or (directory / FOLDER).is_dir()


def save_orbax(params: dict[str, Any], directory: Path, digest: str) -> None:
    """Writes `directory/orbax`, and then `directory/orbax.json`, which tells what must be in it.

    `digest` is that of the weights' origin and goes into the fingerprint.
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
    """Reads `directory/orbax`, each parameter straight to its sharding; returns parameters and digest.

    Raises:
        ModelError: the checkpoint is damaged or does not fit `config`; names the file or the parameter.
    """
    wanted = shapes(config)
    digest = _checked(directory, {".".join(path): list(leaf.shape) for path, leaf in _flat(wanted)})

    def placed(keys: tuple[Any, ...], leaf: jax.ShapeDtypeStruct) -> jax.ShapeDtypeStruct:
        place = sharding(tuple(key.key for key in keys), leaf.shape)
        return jax.ShapeDtypeStruct(leaf.shape, jnp.dtype(dtype), sharding=place)

    folder, checkpoint = (directory / FOLDER).absolute(), _orbax()
    target = jax.tree_util.tree_map_with_path(placed, wanted)
    params: dict[str, Any] = dict.fromkeys(wanted)
    try:
        with checkpoint.PyTreeCheckpointer() as reader:
            # One layer after the other, the largest first: what Orbax reads at once is in memory two or three times.
            for name in sorted(wanted, key=lambda name: _size(wanted[name]), reverse=True):
                part = {name: target[name]}
                places = checkpoint.checkpoint_utils.construct_restore_args(part)
                given = checkpoint.args.PyTreeRestore(item=part, restore_args=places, partial_restore=True)
                params[name] = reader.restore(folder, args=given)[name]
    except Exception as error:  # it raises bare ones, of many lines
        first = (str(error).splitlines() or [type(error).__name__])[0]
        raise ModelError(f"{folder}: cannot be restored ({first:.300})") from None
    return params, digest


def shapes(config: ModelConfig) -> dict[str, Any]:
    """The parameter tree as shapes, without allocating anything."""
    ids = jax.ShapeDtypeStruct((2,), jnp.int32)

    def init(ids: jax.Array) -> Any:
        return Decoder(config).init(jax.random.key(0), ids, ids, attend=causal)["params"]

    tree: dict[str, Any] = jax.eval_shape(init, ids)
    return tree


def _checked(directory: Path, wanted: dict[str, list[int]]) -> str:
    """The digest of a checkpoint that has all its files, whole, and the parameters that are wanted.

    Orbax itself meets damage in the middle of reading, and may then print stack traces from its threads.
    """
    path, folder = directory / MANIFEST, directory / FOLDER
    manifest = read_object(path)
    digest, held, files = (manifest.get(key) for key in ("digest", "parameters", "files"))
    if not isinstance(digest, str) or not isinstance(held, dict) or not isinstance(files, dict):
        raise ModelError(f"{path}: must have digest, parameters and files")
    for name, size in files.items():
        file = folder / name
        if not file.is_file():
            raise ModelError(f"{file}: not found, though {MANIFEST} lists it")
        if file.stat().st_size != size:
            raise ModelError(f"{file}: has {file.stat().st_size} bytes, expected {size}")
    for name in sorted(wanted.keys() | held.keys()):
        if name not in held:
            raise ModelError(f"{folder}: parameter {name} is missing")
        if name not in wanted:
            raise ModelError(f"{folder}: parameter {name} does not belong to the model that config.json describes")
        if held[name] != wanted[name]:
            raise ModelError(f"{folder}: parameter {name} has shape {held[name]}, expected {wanted[name]}")
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
        from orbax import checkpoint  # slow to import, and only wanted here
    except ImportError:
        raise ModelError("Orbax checkpoints need `pip install 'jaxchat[orbax]'`") from None
    return checkpoint
