"""ERNIE 4.5: Llama whose rotary embedding pairs neighbouring elements of a head."""

from __future__ import annotations

from dataclasses import replace

from jaxchat.models.config import ModelConfig
from jaxchat.models.families.common import kinds, rope, same_windows, sizes
from jaxchat.models.hf_config import HFConfigReader

_DEFAULTS = dict(
    num_key_value_heads=2,
    head_dim=128,
    max_position_embeddings=131_072,
    rms_norm_eps=1e-5,
    tie_word_embeddings=True,
)


def read_4_5(keys: HFConfigReader) -> ModelConfig:
    """Reads the configuration of `Ernie4_5ForCausalLM`. Raises ModelError if a key is missing or wrong."""
    keys = keys.or_else(_DEFAULTS)
    bias = keys.flag("use_bias")
    return ModelConfig(
        **sizes(keys),
        kinds=kinds(replace(rope(keys, 5e5), interleaved=True), same_windows(keys, 0)),
        qkv_bias=bias,
        out_bias=bias,
        mlp_bias=bias,
    )
