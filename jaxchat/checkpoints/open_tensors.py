"""Opens the stored tensors of a model directory in any supported file format."""

from __future__ import annotations

from pathlib import Path

from jaxchat.checkpoints.gguf.reader import GgufReader
from jaxchat.checkpoints.safetensors import SafetensorsReader
from jaxchat.checkpoints.tensor_reader import TensorReader
from jaxchat.model_directory import GGUF


def open_tensors(directory: Path) -> TensorReader:
    """Returns a reader of the tensors of a model directory.

    Reads the GGUF files if the directory is a view of GGUF files, and otherwise the safetensors files.

    Raises:
        ModelError: a file is missing or damaged.
    """
    return GgufReader(directory) if (directory / GGUF).exists() else SafetensorsReader(directory)
