"""Seed-OSS: Llama with biases on queries, keys and values."""

from __future__ import annotations

from jaxchat.models.config import ModelConfig
from jaxchat.models.families.common import kinds, rope, same_windows, sizes
from jaxchat.models.hf_config import HFConfigReader

_DEFAULTS = dict(num_key_value_heads=8, head_dim=128, max_position_embeddings=524_288)


def read(keys: HFConfigReader) -> ModelConfig:
    """Reads the configuration of `SeedOssForCausalLM`. Raises ModelError if a key is missing or wrong."""
    keys = keys.or_else(_DEFAULTS)
    return ModelConfig(
        **sizes(keys),
        kinds=kinds(rope(keys), same_windows(keys, 0)),
        qkv_bias=keys.flag("attention_bias", True),
        out_bias=keys.flag("attention_out_bias"),
        mlp_bias=keys.flag("mlp_bias"),
    )
