"""Model families: each is a function that reads a `ModelConfig` from a `config.json`, registered by its
architecture.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from jaxchat.checkpoints.stored_form import CHECKPOINT_FORMS
from jaxchat.errors import ModelError
from jaxchat.model_directory import read_object
from jaxchat.models.config import ModelConfig
from jaxchat.models.hf_config import HFConfigReader
from jaxchat.registry import Registry

Read = Callable[[HFConfigReader], ModelConfig]
"""Reads the checked keys of a `config.json`; raises ModelError for what would be computed wrongly."""
_HERE = "jaxchat.models.families"
FAMILIES: Registry[Read] = Registry(
    "model family",
    "jaxchat.families",
    {
        "LlamaForCausalLM": f"{_HERE}.llama:read",
        "MistralForCausalLM": f"{_HERE}.mistral:read",
        "Qwen2ForCausalLM": f"{_HERE}.qwen:read_2",
        "Qwen3ForCausalLM": f"{_HERE}.qwen:read_3",
        "Qwen3MoeForCausalLM": f"{_HERE}.qwen:read_3_experts",
        "MixtralForCausalLM": f"{_HERE}.mixtral:read",
        "Gemma2ForCausalLM": f"{_HERE}.gemma:read_2",
        "Gemma3ForCausalLM": f"{_HERE}.gemma:read_3",
        "Gemma3ForConditionalGeneration": f"{_HERE}.gemma:read_3_text",
        "Phi3ForCausalLM": f"{_HERE}.phi:read",
        "SmolLM3ForCausalLM": f"{_HERE}.smollm:read_3",
        "GptOssForCausalLM": f"{_HERE}.gpt_oss:read",
    },
)


def register_family(architecture: str, read: Read, *, replace: bool = False) -> None:
    """Adds the family of models whose `config.json` names `architecture` in `architectures`.

    Raises:
        RegistryError: the architecture has a family already, and `replace` is false.
    """
    FAMILIES.register(architecture, read, replace=replace)


def read_config(directory: Path) -> ModelConfig:
    """Reads `directory/config.json`.

    Raises:
        ModelError: the file is missing or not JSON, a key is missing or wrong, or the architecture is not supported.
    """
    return from_hugging_face(read_object(directory / "config.json"))


def from_hugging_face(raw: dict[str, Any]) -> ModelConfig:
    """Reads the keys of a Hugging Face configuration. Raises ModelError for what the decoder would compute wrongly."""
    keys = HFConfigReader(raw)
    architecture, *_ = *keys.words("architectures"), "unnamed"
    if architecture not in FAMILIES:
        supported = ", ".join(FAMILIES.names())
        raise ModelError(f"config.json: architecture {architecture} is not supported; supported: {supported}")
    method = keys.inner("quantization_config").word("quant_method", "unnamed")
    if keys.has("quantization_config") and method not in CHECKPOINT_FORMS:
        raise ModelError(
            f"config.json: quantization_config of method {method} is not supported; use the unquantised checkpoint"
        )
    return FAMILIES.get(architecture)(keys)
