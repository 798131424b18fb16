"""Rounds the weights of a model, and writes a checkpoint that jaxchat and other servers can read.

The form is `pack-quantized` of compressed-tensors. Codes are packed into words of 32 bits, lowest bits first, and each
group of 32 inputs has one scale. Embedding, head, norms and routers stay as they are.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
from safetensors.numpy import save_file

from jaxchat.checkpoints.hf_mapping import unused
from jaxchat.checkpoints.huggingface import stored_parameters
from jaxchat.checkpoints.open_tensors import open_tensors
from jaxchat.checkpoints.tensor_reader import TensorReader
from jaxchat.checkpoints.tensor_slices import TensorSlice
from jaxchat.config import DTypeName
from jaxchat.kernels.matmul.rounding import round_rows
from jaxchat.model_directory import SINGLE, read_object
from jaxchat.models.config import ModelConfig
from jaxchat.models.param_specs import param_specs
from jaxchat.quantised import BLOCK, QuantisedRows
from jaxchat.types import Progress

BITS = {"int4": 4, "int8": 8}
_WORD = 32  # bits


def write_quantised(
    source: Path, destination: Path, config: ModelConfig, form: str, dtype: DTypeName, progress: Progress
) -> dict[str, Any]:
    """Rounds the weights of `source` and writes them to `destination`, an existing directory.

    Returns the object for `config.json`. Holds all rounded weights in memory until it writes them.

    Args:
        source: a directory in Hugging Face form, or a view of a GGUF file.
        destination: the directory to write.
        config: the configuration of the model.
        form: a key of `BITS`.
        dtype: dtype of the weights that are not rounded.
        progress: called with the number of tensors that were rounded or copied so far, and their total number. The file
            is written after the last call.

    Raises:
        ModelError: a file or tensor of the source is missing or damaged, or does not fit `config`.
    """
    reader = open_tensors(source)
    matrices = _matrices(reader, config)
    names = [name for name in reader.files if not unused(config, name)]
    tensors: dict[str, np.ndarray] = {}
    for done, name in enumerate(names):
        progress(done, len(names))
        shape = reader.shape(name)
        numbers = np.asarray(reader.read(TensorSlice(name, shape, shape)))
        if name in matrices:
            tensors |= _packed(name, round_rows(numbers.astype(np.float32), BITS[form]))
        else:
            tensors[name] = numbers.astype(np.float32 if dtype == "float32" else ml_dtypes.bfloat16)
        reader.release()
    progress(len(names), len(names))
    save_file(tensors, destination / SINGLE, metadata={"format": "pt"})
    changed = {"quantization_config": _scheme(BITS[form]), "tie_word_embeddings": config.tie_embeddings}
    return {**read_object(source / "config.json"), **changed}


def _matrices(reader: TensorReader, config: ModelConfig) -> set[str]:
    """Returns the names of the stored matrices `[out, in]` to round.

    Their number of inputs is a multiple of the group's size.
    """
    specs = param_specs(config)
    return {
        part.name
        for path, slices in stored_parameters(reader, config).items()
        if specs[path].contracted and "vocab" not in specs[path].axes
        for part in slices
        if part.transposed and len(part.stored_shape) == 2 and part.stored_shape[1] % BLOCK == 0
    }


def _packed(name: str, rows: QuantisedRows) -> dict[str, np.ndarray]:
    """Returns the stored tensors of a weight. Codes are unsigned, and a code in the middle of the range means zero."""
    base = name.removesuffix("weight")
    per_word = _WORD // rows.bits
    shifts = rows.bits * np.arange(per_word, dtype=np.uint32)
    words = rows.codes.reshape(len(rows.codes), -1, per_word).astype(np.uint32) << shifts
    return {
        f"{base}weight_packed": words.sum(axis=-1, dtype=np.uint32).view(np.int32),
        f"{base}weight_scale": rows.scale.outer,
        f"{base}weight_shape": np.array(rows.shape, np.int64),
    }


def _scheme(bits: int) -> dict[str, Any]:
    """Returns the `quantization_config` of compressed-tensors."""
    weights = {
        "num_bits": bits,
        "type": "int",
        "symmetric": True,
        "strategy": "group",
        "group_size": BLOCK,
        "dynamic": False,
    }
    return {
        "quant_method": "compressed-tensors",
        "format": "pack-quantized",
        "quantization_status": "compressed",
        "config_groups": {"group_0": {"targets": ["Linear"], "weights": weights}},
        "ignore": ["lm_head"],
    }
