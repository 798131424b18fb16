"""Mixtral: Mistral with experts in every layer (arXiv 2401.04088)."""

from __future__ import annotations

from jaxchat.models.config import Experts, LayerKind, ModelConfig, Names
from jaxchat.models.families.common import rope, sizes
from jaxchat.models.hf_config import HFConfigReader

_NAMES = Names(router="block_sparse_moe.gate", experts="block_sparse_moe.experts", expert=("w1", "w3", "w2"))


def read(keys: HFConfigReader) -> ModelConfig:
    """Reads `MixtralForCausalLM`."""
    window = keys.integer("sliding_window") if keys.has("sliding_window") else 0
    kind = LayerKind(rope=rope(keys, 1e6), window=window, sparse=True)
    experts = Experts(
        count=keys.integer("num_local_experts", 8),
        top_k=keys.integer("num_experts_per_tok", 2),
        mlp_dim=keys.integer("intermediate_size"),
    )
    layers = keys.integer("num_hidden_layers")
    return ModelConfig(**sizes(keys), kinds=(kind,) * layers, experts=experts, names=_NAMES)
