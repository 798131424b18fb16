"""Orbax checkpoints, the native format. Parameters are restored directly to the devices that hold them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from jaxchat.errors import ModelError
from jaxchat.model_directory import read_object
from jaxchat.models.config import ModelConfig
from jaxchat.models.param_specs import ParamPath, ParamSpec, param_specs, param_tree

FOLDER, MANIFEST = "orbax", "orbax.json"
PIECE = 1 << 26  # bytes of a chunk, the unit of reads; a device does not need to read the chunks of others
ShardingOf = Callable[[ParamSpec], jax.sharding.Sharding]
Finish = Callable[[ParamPath, jax.Array], Any]
"""`finish(path, array)` gives one restored parameter its final form."""


def has_orbax(directory: Path) -> bool:
    """Returns whether a model directory contains an Orbax checkpoint."""
    return (directory / MANIFEST).exists() or (directory / FOLDER).is_dir()


def check_installed() -> None:
    """Raises ModelError if Orbax is not installed."""
    _orbax()


def save_orbax(params: dict[str, Any], directory: Path, digest: str) -> None:
    """Writes the folder `directory/orbax`, then `directory/orbax.json`, the manifest that lists the folder's contents.

    Args:
        params: the nested parameter dict.
        directory: directory of the model.
        digest: digest of the original weights, which becomes part of the fingerprint.

    Raises:
        ModelError: Orbax is not installed.
    """
    checkpoint, folder = _orbax(), (directory / FOLDER).absolute()
    with checkpoint.StandardCheckpointer() as saver:
        pieces = jax.tree.map(lambda leaf: checkpoint.SaveArgs(chunk_byte_size=PIECE), params)
        saver.save(folder, params, save_args=pieces)
    shapes = {".".join(path): list(leaf.shape) for path, leaf in _flat(params)}
    files = {str(file.relative_to(folder)): file.stat().st_size for file in _files(folder)}
    (directory / MANIFEST).write_text(json.dumps({"digest": digest, "parameters": shapes, "files": files}, indent=1))


def restore_orbax(
    directory: Path,
    config: ModelConfig,
    *,
    dtype: str,
    sharding: ShardingOf,
    finish: Finish = lambda path, array: array,
) -> tuple[dict[str, Any], str]:
    """Restores the parameters in `directory/orbax`, each directly to its sharding.

    Args:
        directory: directory of the model.
        config: the configuration of the decoder whose parameters are stored.
        dtype: dtype of the restored parameters, such as "bfloat16".
        sharding: returns the sharding of a parameter from its spec.
        finish: gives each parameter its final form. It is called for all parameters of one layer before the next layer
            is read.

    Returns:
        The nested parameter dict and the digest of the original weights.

    Raises:
        ModelError: Orbax is not installed, or the checkpoint is damaged or does not fit `config`. The message names the
            file or the parameter.
    """
    specs = param_specs(config)
    digest = _checked(directory, {".".join(path): list(spec.shape) for path, spec in specs.items()})
    target = param_tree(
        specs, lambda path, spec: jax.ShapeDtypeStruct(spec.shape, jnp.dtype(dtype), sharding=sharding(spec))
    )
    params: dict[str, Any] = dict.fromkeys(target)
    with _orbax().PyTreeCheckpointer() as reader:
        # One layer after the other, the largest first: Orbax holds what it reads at once two or three times.
        for name in sorted(target, key=lambda name: _size(target[name]), reverse=True):
            part = {name: _restored(reader, directory, {name: target[name]})[name]}
            _finish(part, (), finish)
            params |= part
    return params, digest


def _restored(reader: Any, directory: Path, target: dict[str, Any]) -> dict[str, Any]:
    """Restores the parameters in the nested dict `target` to the shardings there. Raises ModelError if Orbax fails."""
    checkpoint, folder = _orbax(), (directory / FOLDER).absolute()
    try:
        places = checkpoint.checkpoint_utils.construct_restore_args(target)
        args = checkpoint.args.PyTreeRestore(item=target, restore_args=places, partial_restore=True)
        part: dict[str, Any] = reader.restore(folder, args=args)
        return part
    except Exception as error:  # Orbax raises bare exceptions, with many lines
        first = (str(error).splitlines() or [type(error).__name__])[0]
        raise ModelError(f"{folder}: cannot be restored ({first:.300})") from None


def _finish(tree: dict[str, Any], path: ParamPath, finish: Finish) -> None:
    """Replaces the parameters in `tree` by their final forms, one at a time to save memory."""
    for name, node in tree.items():
        if isinstance(node, dict):
            _finish(node, (*path, name), finish)
        else:
            tree[name] = finish((*path, name), node)


def _checked(directory: Path, expected: dict[str, list[int]]) -> str:
    """Returns the digest of a checkpoint, after checking that it has all its files and the expected parameters.

    Orbax itself notices damage only while it reads, and may then print stack traces from its threads.

    Raises:
        ModelError: the manifest is missing or malformed, a file that it lists is missing or has another size, or a
            parameter is missing, surplus or of another shape.
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
