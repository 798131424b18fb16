"""GLM 4 (arXiv 2406.12793): Llama whose rotary embedding pairs neighbouring elements, in the first half of each head.

The models of April 2025 also have norms after the attention and MLP sublayers.
"""

from __future__ import annotations

from dataclasses import replace

from jaxchat.models.config import ModelConfig, Names
from jaxchat.models.families.common import kinds, rope, same_windows, sizes
from jaxchat.models.hf_config import HFConfigReader

_NAMES = Names(fused_gate_up=True, post_norms=("post_self_attn_layernorm", "post_mlp_layernorm"))
_DEFAULTS = dict(
    num_key_value_heads=2,
    head_dim=128,
    max_position_embeddings=131_072,
    rms_norm_eps=0.00000015625,
    partial_rotary_factor=0.5,
)


def read(keys: HFConfigReader) -> ModelConfig:
    """Reads the configuration of `GlmForCausalLM`. Raises ModelError if a key is missing or wrong."""
    keys = keys.or_else(_DEFAULTS)
    return ModelConfig(
        **sizes(keys),
        kinds=kinds(replace(rope(keys, partial=True), interleaved=True), same_windows(keys, 0)),
        qkv_bias=keys.flag("attention_bias", True),
        names=_NAMES,
    )


def read_4(keys: HFConfigReader) -> ModelConfig:
    """Reads the configuration of `Glm4ForCausalLM`. Raises ModelError if a key is missing or wrong."""
    return replace(read(keys), post_norms=True)
