"""Finds the directory of a model in any form that can be served."""

from __future__ import annotations

from pathlib import Path

from jaxchat.checkpoints.gguf.view import view
from jaxchat.config import AUTO
from jaxchat.model_directory import find, gguf_file
from jaxchat.models.families import read_config


def find_model(model: str, cache_dir: str | None = AUTO) -> Path:
    """Returns the directory of a model.

    For a GGUF file, or a directory that holds one, returns a view: a directory that `gguf.view` makes from the file.

    Args:
        model: "bundled", a path, or a hub id, which is downloaded.
        cache_dir: where views are kept, as in `jaxchat.cache.cache_folder`.

    Raises:
        ModelError: the model is not found, cannot be served, or is damaged.
        OSError: `cache_dir` is a path that cannot be created or written, or no temporary folder can be created.
        ValueError: `cache_dir` is empty.
    """
    file = gguf_file(model)
    return view(file, cache_dir) if file else find(model)


def check_model(model: str, cache_dir: str | None = AUTO) -> Path:
    """Finds a model, downloads it if it is a hub id, and checks that its architecture is supported.

    Takes a second, because weights are not read. Returns the model's directory.

    Args:
        model: "bundled", a model directory, a GGUF file, or a hub id.
        cache_dir: where views are kept, as in `jaxchat.cache.cache_folder`.

    Raises:
        ModelError: the model is not found, cannot be served, or is damaged.
        OSError: `cache_dir` is a path that cannot be created or written, or no temporary folder can be created.
        ValueError: `cache_dir` is empty.
    """
    directory = find_model(model, cache_dir)
    read_config(directory)
    return directory
