"""Mistral: Llama with a sliding window in every layer (arXiv 2310.06825), or with none since version 0.2.

Ministral has windows in some layers only. Its `config.json` may name either architecture.
"""

from __future__ import annotations

from jaxchat.models.config import ModelConfig
from jaxchat.models.families.common import kinds, optional_window, rope, sizes, windows
from jaxchat.models.hf_config import HFConfigReader

_DEFAULTS = dict(num_key_value_heads=8, max_position_embeddings=131_072, sliding_window=4096)


def read(keys: HFConfigReader) -> ModelConfig:
    """Reads `MistralForCausalLM` and `MinistralForCausalLM`."""
    keys = keys.or_else(_DEFAULTS)
    window = optional_window(keys)
    every = (window > 0,) * keys.integer("num_hidden_layers")
    return ModelConfig(**sizes(keys), kinds=kinds(rope(keys), windows(keys, every, window)))
