"""Reads the configuration of a model from its directory, and corrects it where the stored tensors contradict it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from jaxchat.checkpoints.open_tensors import open_tensors
from jaxchat.checkpoints.tensor_reader import TensorReader
from jaxchat.checkpoints.tensor_slices import TensorSlice
from jaxchat.model_directory import GGUF, INDEX, ORBAX, SINGLE, read_if_there
from jaxchat.models.config import ModelConfig
from jaxchat.models.families import read_config

_ROWS = 4096  # compared at once


def read_stored_config(directory: Path) -> ModelConfig:
    """Returns the configuration in `directory/config.json`, with `tie_embeddings` false if a separate head is stored.

    In safetensors and GGUF files, a head is separate if its numbers differ from those of the embedding, as in
    `transformers`. For example, fine-tuning may have changed only the head. In an Orbax checkpoint, every head is
    separate.

    Raises:
        ModelError: `read_config` rejects the configuration, or a file of weights is missing or damaged.
        RegistryError: `read_config` raises it.
    """
    config = read_config(directory)
    if not config.tie_embeddings:
        return config
    if (directory / ORBAX).exists():
        parameters = read_if_there(directory / ORBAX).get("parameters")
        other = isinstance(parameters, dict) and "head" in parameters
    else:
        stored = any((directory / name).exists() for name in (INDEX, SINGLE, GGUF))
        other = stored and has_other_head(open_tensors(directory), config)
    return replace(config, tie_embeddings=not other)


def has_other_head(shards: TensorReader, config: ModelConfig) -> bool:
    """Returns whether a checkpoint stores a head that differs from the embedding. Returns False if either is missing.

    Args:
        shards: reader of the stored tensors.
        config: the configuration of the model.

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
