"""Converts a model to Orbax format, or rounds its weights, in a new directory that can be served like the original."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from jaxchat.checkpoints.huggingface import load_hf
from jaxchat.checkpoints.open_tensors import open_tensors
from jaxchat.checkpoints.orbax import check_installed, has_orbax, save_orbax
from jaxchat.checkpoints.stored_config import read_stored_config
from jaxchat.checkpoints.write_quantised import write_quantised
from jaxchat.config import DTypeName, Quantize
from jaxchat.errors import ModelError
from jaxchat.model_directory import text_files
from jaxchat.types import Progress


def convert(
    source: Path,
    destination: Path,
    *,
    dtype: DTypeName | None = None,
    quantize: Quantize | None = None,
    progress: Progress = lambda done, total: None,
) -> DTypeName:
    """Writes the model of `source` to `destination`, which must not exist or must be empty.

    Args:
        source: a directory in Hugging Face format.
        destination: the directory to write.
        dtype: dtype of the written weights. None means bfloat16 if all weights of the source are bfloat16, otherwise
            float32.
        quantize: rounds weights to 4 or 8 bits in groups of 32, and writes them in Hugging Face format, as
            `write_quantised` does. `dtype` is then the dtype of the weights that are not rounded. None writes Orbax
            format.
        progress: called with the number of parameters read and their total number.

    Returns:
        The dtype of the written weights that are not rounded.

    Raises:
        ModelError: the source is damaged, not supported or in Orbax format already, the destination exists and is not
            empty, or Orbax is not installed.
        OSError: the destination cannot be written.
    """
    if has_orbax(source):
        raise ModelError(f"{source}: is in Orbax format already")
    if destination.exists() and not (destination.is_dir() and not any(destination.iterdir())):
        raise ModelError(f"{destination}: exists and is not an empty directory")
    if quantize is None:
        check_installed()
    config = read_stored_config(source)
    stored_dtype: DTypeName = dtype or ("bfloat16" if open_tensors(source).dtypes() == {"BF16"} else "float32")
    changed: dict[str, Any] | None = None
    if quantize is None:
        params, digest = load_hf(source, config, dtype=stored_dtype, progress=progress)
        destination.mkdir(parents=True, exist_ok=True)
        save_orbax(params, destination, digest)
    else:
        destination.mkdir(parents=True, exist_ok=True)
        changed = write_quantised(source, destination, config, quantize, stored_dtype, progress)
    for path in text_files(source):  # config.json is last, so that an incomplete directory cannot be served
        copy = destination / path.relative_to(source)
        copy.parent.mkdir(exist_ok=True)
        if changed and path.name == "config.json":
            copy.write_text(json.dumps(changed, indent=1), "utf-8")
        else:
            shutil.copyfile(path, copy)
    return stored_dtype
