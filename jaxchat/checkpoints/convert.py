"""From Hugging Face form to Orbax form, in a new directory that can be served like the old one."""

from __future__ import annotations

import shutil
from pathlib import Path

from jaxchat.checkpoints.huggingface import load_hf
from jaxchat.checkpoints.orbax import has_orbax, save_orbax
from jaxchat.checkpoints.safetensors import SafetensorsReader
from jaxchat.config import DTypeName
from jaxchat.errors import ModelError
from jaxchat.models.families import read_config
from jaxchat.types import Progress

TEXTS = ("generation_config.json", "tokenizer.json", "tokenizer_config.json", "chat_template.jinja", "config.json")
"""What serving reads besides weights; config.json last, so that a half-made directory is none that can be served."""


def convert(
    source: Path,
    destination: Path,
    *,
    dtype: DTypeName | None = None,
    progress: Progress = lambda done, total: None,
) -> DTypeName:
    """Writes the model of `source` to `destination`, which must not exist or be empty.

    Args:
        source: a directory in Hugging Face form.
        dtype: of the stored weights; None keeps bfloat16, and takes float32 for all else, which holds any.
        progress: told of the parameters read.

    Returns:
        The dtype.

    Raises:
        ModelError: the source is damaged, is in Orbax form already, or there is something at the destination.
        OSError: the destination cannot be written.
    """
    if has_orbax(source):
        raise ModelError(f"{source}: is in Orbax form already")
    if destination.exists() and not (destination.is_dir() and not any(destination.iterdir())):
        raise ModelError(f"{destination}: exists and is no empty directory")
    config = read_config(source)
    kept: DTypeName = dtype or ("bfloat16" if SafetensorsReader(source).dtypes() == {"BF16"} else "float32")
    params, digest = load_hf(source, config, dtype=kept, progress=progress)
    destination.mkdir(parents=True, exist_ok=True)
    save_orbax(params, destination, digest)
    for name in TEXTS:
        if (source / name).exists():
            shutil.copyfile(source / name, destination / name)
    return kept
