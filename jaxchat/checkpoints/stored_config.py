"""Reads the configuration of a model from its directory, and corrects it by the tensors that are stored there."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from jaxchat.checkpoints.safetensors import SafetensorsReader
from jaxchat.checkpoints.tensor_slices import TensorSlice
from jaxchat.model_directory import INDEX, ORBAX, SINGLE, read_if_there
from jaxchat.models.config import ModelConfig
from jaxchat.models.families import read_config

_ROWS = 4096  # compared at once


def read_stored_config(directory: Path) -> ModelConfig:
    """Reads `directory/config.json`, and unties the embeddings if a different head is stored.

    `transformers` does the same: fine-tuning may have changed the head alone.

    Raises:
        ModelError: `read_config` rejects the configuration, or a file of weights is damaged.
    """
    config = read_config(directory)
    if not config.tie_embeddings:
        return config
    if (directory / ORBAX).exists():
        parameters = read_if_there(directory / ORBAX).get("parameters")
        other = isinstance(parameters, dict) and "head" in parameters
    else:
        stored = (directory / INDEX).exists() or (directory / SINGLE).exists()
        other = stored and has_other_head(SafetensorsReader(directory), config)
    return replace(config, tie_embeddings=not other)


def has_other_head(shards: SafetensorsReader, config: ModelConfig) -> bool:
    """Returns whether the checkpoint stores a head that differs from the embedding.

    Raises:
        ModelError: the head or the embedding has the wrong shape or cannot be read.
    """
    head, embedding = shards.head(), f"{shards.prefix(config.names.prefixes)}embed_tokens.weight"
    if head not in shards.files or embedding not in shards.files:
        return False
    shape = (config.vocab_size, config.embed_dim)
    whole = [TensorSlice(name, shape, shape) for name in (head, embedding)]
    for part in whole:
        shards.check(part)
    for start in range(0, config.vocab_size, _ROWS):
        rows = start, min(start + _ROWS, config.vocab_size)
        first, second = (shards.read(replace(part, rows=rows)).astype(np.float32) for part in whole)
        if not np.array_equal(first, second):
            return True
    return False
