"""Mistral: Llama with a sliding window in every layer (arXiv 2310.06825), or with none since version 0.2."""

from __future__ import annotations

from jaxchat.models.config import ModelConfig
from jaxchat.models.families.common import kinds, rope, sizes
from jaxchat.models.hf_config import HFConfigReader


def read(keys: HFConfigReader) -> ModelConfig:
    """Reads `MistralForCausalLM`."""
    window = keys.integer("sliding_window") if keys.has("sliding_window") else 0
    return ModelConfig(**sizes(keys), kinds=kinds(rope(keys), (window,) * keys.integer("num_hidden_layers")))
