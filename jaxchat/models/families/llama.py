"""Llama 2, 3, 3.1 to 3.3, SmolLM 2, and the many other models of the same architecture."""

from __future__ import annotations

from jaxchat.models.config import ModelConfig
from jaxchat.models.families.common import kinds, rope, same_windows, sizes
from jaxchat.models.hf_config import HFConfigReader


def read(keys: HFConfigReader) -> ModelConfig:
    """Reads the configuration of `LlamaForCausalLM`. Raises ModelError if a key is missing or wrong."""
    bias = keys.flag("attention_bias")
    return ModelConfig(
        **sizes(keys),
        kinds=kinds(rope(keys), same_windows(keys, 0)),
        qkv_bias=bias,
        out_bias=bias,
        mlp_bias=keys.flag("mlp_bias"),
    )
