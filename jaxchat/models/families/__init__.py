"""Model families: each is a module that reads a `ModelConfig` from its `config.json`. This module lists them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from jaxchat.errors import ModelError
from jaxchat.model_directory import read_object
from jaxchat.models.config import ModelConfig
from jaxchat.models.families import gemma, gpt_oss, llama, mistral, mixtral, phi, qwen, smollm
from jaxchat.models.hf_config import HFConfigReader

Read = Callable[[HFConfigReader], ModelConfig]
FAMILIES: dict[str, Read] = {
    "LlamaForCausalLM": llama.read,
    "MistralForCausalLM": mistral.read,
    "Qwen2ForCausalLM": qwen.read_2,
    "Qwen3ForCausalLM": qwen.read_3,
    "Qwen3MoeForCausalLM": qwen.read_3_experts,
    "MixtralForCausalLM": mixtral.read,
    "Gemma2ForCausalLM": gemma.read_2,
    "Gemma3ForCausalLM": gemma.read_3,
    "Gemma3ForConditionalGeneration": gemma.read_3_text,
    "Phi3ForCausalLM": phi.read,
    "SmolLM3ForCausalLM": smollm.read_3,
    "GptOssForCausalLM": gpt_oss.read,
}


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
        raise ModelError(f"config.json: architecture {architecture} is not supported; supported: {', '.join(FAMILIES)}")
    method = keys.inner("quantization_config").word("quant_method", "unnamed")
    if keys.has("quantization_config") and method != "mxfp4":
        raise ModelError(
            f"config.json: quantization_config of method {method} is not supported; use the unquantised checkpoint"
        )
    return FAMILIES[architecture](keys)
