"""Small random checkpoints in every quantised form, with the models in `transformers` that have the same numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from safetensors.numpy import load_file

from tools.parity import checkpoints
from tools.parity.forms import gguf_files
from tools.parity.forms.cases import CASES
from tools.parity.forms.writers import Case, Tensors, save

SIZES = dict(head_dim=32, intermediate_size=256, num_hidden_layers=2)
"""Sizes with which each of eight devices has whole groups of 32 inputs."""
GGUF_SIZES = dict(hidden_size=256, intermediate_size=256, num_hidden_layers=2)
"""Sizes for blocks of 256 inputs. Each of eight devices then has whole groups of 32 inputs."""
FORMS = (
    "gptq",
    "gptq, activation order, asymmetric",
    "gptq, 8 bits",
    "awq",
    "compressed, W4A16, asymmetric",
    "compressed, W8A8",
    "compressed, floats, channels",
    "fp8, blocks",
    "bitsandbytes, nf4",
    "bitsandbytes, int8",
    *(f"GGUF, {kind}" for kind in gguf_files.TYPES),
)
"""The forms that are measured: one case of each, and more where the products differ."""


def write_form(directory: Path, form: str) -> torch.nn.Module:
    """Writes a checkpoint in one of `FORMS`. Returns the model with the checkpoint's numbers, in float32."""
    if kind := form.partition("GGUF, ")[2]:
        return _gguf_model(directory, kind)
    return quantised_model(directory, CASES[form], **SIZES)


def quantised_model(directory: Path, case: Case, kind: str = "Llama", **changes: Any) -> torch.nn.Module:
    """Writes a checkpoint whose layers' matrices are in a quantised form.

    Args:
        directory: the model directory.
        case: the form.
        kind: the prefix of the family's class names in `transformers`.
        changes: entries of the configuration that replace or extend those of `tools.parity.checkpoints`.

    Returns:
        The model with the checkpoint's numbers, in float32.
    """
    checkpoints.write_model(directory, kind, **changes)
    plain: Tensors = load_file(directory / "model.safetensors")
    stored, rng = dict(plain), np.random.default_rng(2)
    for name in [name for name in plain if name.endswith("_proj.weight")]:
        parts, plain[name] = case.write(rng, name.removesuffix(".weight"), *stored.pop(name).shape)
        stored |= parts
    model = _model_of(directory, plain)
    save(directory, stored, case.quantization)
    return model


def _gguf_model(directory: Path, kind: str) -> torch.nn.Module:
    checkpoints.write_model(directory, "Qwen2", **GGUF_SIZES)
    plain: Tensors = load_file(directory / "model.safetensors")
    plain |= gguf_files.write(directory, plain, kind)
    model = _model_of(directory, plain)
    (directory / "model.safetensors").unlink()
    return model


def _model_of(directory: Path, tensors: Tensors) -> torch.nn.Module:
    """Writes these weights to `directory`, and returns the model that `transformers` loads from it."""
    save(directory, tensors)
    return transformers.AutoModelForCausalLM.from_pretrained(directory, attn_implementation="eager").eval()
