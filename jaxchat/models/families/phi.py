"""Phi 3, 3.5 and 4: Llama with fused matrices and LongRoPE; small ones rotate only a part of each head."""

from __future__ import annotations

from jaxchat.models.config import ModelConfig, Names
from jaxchat.models.families.common import kinds, rope, sizes
from jaxchat.models.hf_config import HFConfigReader


def read(keys: HFConfigReader) -> ModelConfig:
    """Reads `Phi3ForCausalLM`."""
    window = keys.integer("sliding_window") if keys.has("sliding_window") else 0
    return ModelConfig(
        **sizes(keys),
        kinds=kinds(rope(keys), (window,) * keys.integer("num_hidden_layers")),
        names=Names(fused=True),
    )
