"""Orbax checkpoints: the native form, restored straight onto whatever mesh serves, without a pass through the host."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from jaxchat.errors import ModelError
from jaxchat.kernels.reference import causal
from jaxchat.models.config import ModelConfig
from jaxchat.models.decoder import Decoder

FOLDER, DIGEST = "orbax", "weights.sha256"
ShardingOf = Callable[[tuple[str, ...], tuple[int, ...]], jax.sharding.Sharding]


def has_orbax(directory: Path) -> bool:
    """Whether a model directory holds an Orbax checkpoint."""
    return (directory / FOLDER).is_dir()


def save_orbax(params: dict[str, Any], directory: Path, digest: str) -> None:
    """Writes `directory/orbax`; `digest` is that of the weights' origin and goes into the fingerprint."""
    checkpoint = _orbax()
    with checkpoint.StandardCheckpointer() as saver:
        saver.save((directory / FOLDER).absolute(), params)
    (directory / DIGEST).write_text(digest)


def restore_orbax(
    directory: Path, config: ModelConfig, *, dtype: str, sharding: ShardingOf
) -> tuple[dict[str, Any], str]:
    """Reads `directory/orbax`, each parameter straight to its sharding; returns parameters and digest.

    Raises:
        ModelError: the checkpoint is damaged or does not fit `config`.
    """

    def wanted(path: tuple[Any, ...], leaf: jax.ShapeDtypeStruct) -> jax.ShapeDtypeStruct:
        place = sharding(tuple(key.key for key in path), leaf.shape)
        return jax.ShapeDtypeStruct(leaf.shape, jnp.dtype(dtype), sharding=place)

    checkpoint = _orbax()
    target = jax.tree_util.tree_map_with_path(wanted, shapes(config))
    try:
        digest = (directory / DIGEST).read_text("utf-8")
        with checkpoint.StandardCheckpointer() as reader:
            params: dict[str, Any] = reader.restore((directory / FOLDER).absolute(), target)
            return params, digest
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(f"{directory / FOLDER}: cannot be restored for this config.json ({error})") from None


def shapes(config: ModelConfig) -> dict[str, Any]:
    """The parameter tree as shapes, without allocating anything."""
    ids = jax.ShapeDtypeStruct((2,), jnp.int32)

    def init(ids: jax.Array) -> Any:
        return Decoder(config).init(jax.random.key(0), ids, ids, attend=causal)["params"]

    tree: dict[str, Any] = jax.eval_shape(init, ids)
    return tree


def _orbax() -> Any:
    try:
        from orbax import checkpoint  # slow to import, and only wanted here
    except ImportError:
        raise ModelError("Orbax checkpoints need `pip install 'jaxchat[orbax]'`") from None
    return checkpoint
