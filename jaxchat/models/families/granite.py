"""Granite 3: Llama with constant factors on embeddings, attention scores, logits and the outputs of sublayers.

Its small models have experts in every layer.
"""

from __future__ import annotations

from dataclasses import replace

from jaxchat.models.config import Experts, ModelConfig, Names
from jaxchat.models.families import llama
from jaxchat.models.hf_config import HFConfigReader

_ROUTER = "block_sparse_moe.router.layer"
_NAMES_EXPERTS = Names(
    router=_ROUTER,
    experts="block_sparse_moe",
    stacking="out_in",
    stacked=("input_linear.weight", "output_linear.weight"),
    others=(Names(router=_ROUTER),),  # as files in GGUF format are read
)


def read(keys: HFConfigReader) -> ModelConfig:
    """Reads the configuration of `GraniteForCausalLM`. Raises ModelError if a key is missing or wrong."""
    return replace(
        llama.read(keys),
        embed_scale=keys.number("embedding_multiplier", 1.0),
        query_scale=keys.number("attention_multiplier", 1.0),
        residual_scale=keys.number("residual_multiplier", 1.0),
        logit_scale=1 / keys.number("logits_scaling", 1.0, positive=True),
    )


def read_experts(keys: HFConfigReader) -> ModelConfig:
    """Reads the configuration of `GraniteMoeForCausalLM`. Raises ModelError if a key is missing or wrong."""
    model = read(keys)
    experts = Experts(
        count=keys.integer("num_local_experts", 8),
        top_k=keys.integer("num_experts_per_tok", 2),
        mlp_dim=keys.integer("intermediate_size"),
    )
    layers = tuple(replace(kind, sparse=True) for kind in model.kinds)
    return replace(model, kinds=layers, experts=experts, names=_NAMES_EXPERTS)
