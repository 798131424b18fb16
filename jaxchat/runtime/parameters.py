"""The parameters of a model as its mesh and its products want them, from whichever form a directory holds."""

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
    """Parameters on their devices, the digest of the weights, and who multiplies by them.

    Args:
        directory: holds a checkpoint of `model`.
        served: that model, `padded_config` to the devices of `placement`.
        report: is told of the progress.

    Raises:
        ModelError: the checkpoint is damaged or does not fit `model`.
        ValueError: the products do not fit the devices.
    """
    logits = engine.slots * served.vocab_size if jax.default_backend() == "cpu" else 0  # elsewhere on the device
    with release_freed_memory(logits):
        params, digest = _stored(directory, model, served, engine.dtype, placement, report)
        params, who = for_matmul(params, served, engine, placement, cache_folder(engine.cache_dir), report)
    return params, digest, who


def _stored(
    directory: Path, model: ModelConfig, served: ModelConfig, dtype: str, placement: Placement, report: Report
) -> tuple[dict[str, Any], str]:
    """From an Orbax checkpoint where the directory holds one, else from safetensors."""
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
    """Parameters on their devices as `served` has them, one after the other."""

    def one(keys: tuple[jax.tree_util.DictKey, ...], array: jax.Array, wanted: jax.ShapeDtypeStruct) -> jax.Array:
        if array.shape == wanted.shape:
            return array
        path = tuple(key.key for key in keys)
        place = placement.parameter(path, wanted.shape)
        return jax.jit(partial(pad, path, model=model, target=served), out_shardings=place)(array)

    fitted_params: dict[str, Any] = jax.tree_util.tree_map_with_path(one, params, shapes(served))
    return fitted_params
