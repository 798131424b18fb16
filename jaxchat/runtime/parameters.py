"""Loads a model's parameters in the format of its mesh and its matmul backend, from any storage format."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import jax

from jaxchat.cache import cache_folder
from jaxchat.checkpoints.huggingface import load_hf
from jaxchat.checkpoints.orbax import has_orbax, restore_orbax, shapes
from jaxchat.config import EngineConfig
from jaxchat.models.config import ModelConfig
from jaxchat.parallel.mesh import Placement
from jaxchat.parallel.padding import pad
from jaxchat.runtime.matmul_backend import for_matmul
from jaxchat.runtime.process_tuning import release_freed_memory
from jaxchat.types import Report


def load_parameters(
    directory: Path,
    model: ModelConfig,
    served: ModelConfig,
    engine: EngineConfig,
    placement: Placement,
    report: Report = lambda *_: None,
) -> tuple[dict[str, Any], str, str]:
    """Returns parameters on their devices, the digest of the weights, and a phrase that describes the matmul backend.

    Args:
        directory: contains a checkpoint of `model`.
        model: the model as stored.
        served: the model padded to the devices of `placement`.
        engine: settings.
        placement: devices of the model.
        report: called with the progress.

    Raises:
        ModelError: the checkpoint is damaged or does not fit `model`.
        ValueError: the matmul backend does not support the devices.
    """
    # On other platforms, logits are in device memory.
    logits = engine.slots * served.vocab_size if jax.default_backend() == "cpu" else 0
    with release_freed_memory(logits):
        params, digest = _stored(directory, model, served, engine.dtype, placement, report)
        params, who = for_matmul(params, served, engine, placement, cache_folder(engine.cache_dir), report)
    return params, digest, who


def _stored(
    directory: Path, model: ModelConfig, served: ModelConfig, dtype: str, placement: Placement, report: Report
) -> tuple[dict[str, Any], str]:
    """Loads an Orbax checkpoint if the directory contains one, otherwise safetensors."""
    if has_orbax(directory):
        report("loading weights", 0, 1)
        params, digest = restore_orbax(directory, model, dtype=dtype, sharding=placement.parameter)
        return _fit_all(params, model, served, placement), digest
    return load_hf(
        directory,
        model,
        dtype=dtype,
        place=lambda path, array: placement.place(path, pad(path, array, model, served)),
        progress=lambda done, total: report("loading weights", done, total),
    )


def _fit_all(params: dict[str, Any], model: ModelConfig, served: ModelConfig, placement: Placement) -> dict[str, Any]:
    """Pads parameters on their devices to the shapes of `served`, one after the other."""

    def one(keys: tuple[jax.tree_util.DictKey, ...], array: jax.Array, wanted: jax.ShapeDtypeStruct) -> jax.Array:
        if array.shape == wanted.shape:
            return array
        path = tuple(key.key for key in keys)
        place = placement.parameter(path, wanted.shape)
        return jax.jit(partial(pad, path, model=model, target=served), out_shardings=place)(array)

    fitted_params: dict[str, Any] = jax.tree_util.tree_map_with_path(one, params, shapes(served))
    return fitted_params
