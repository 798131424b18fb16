"""Granite 3: Llama whose embeddings, scores, residual stream and logits are multiplied by constants."""

from __future__ import annotations

from dataclasses import replace

from jaxchat.models.config import ModelConfig
from jaxchat.models.families import llama
from jaxchat.models.hf_config import HFConfigReader


def read(keys: HFConfigReader) -> ModelConfig:
    """Reads `GraniteForCausalLM`."""
    return replace(
        llama.read(keys),
        embed_scale=keys.number("embedding_multiplier", 1.0),
        query_scale=keys.number("attention_multiplier", 1.0),
        residual_scale=keys.number("residual_multiplier", 1.0),
        logit_scale=1 / keys.number("logits_scaling", 1.0, positive=True),
    )
