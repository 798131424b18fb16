"""Mixtral: Mistral with experts in every layer (arXiv 2401.04088)."""

from __future__ import annotations

from jaxchat.models.config import Experts, LayerKind, ModelConfig, Names
from jaxchat.models.families.common import optional_window, rope, same_windows, sizes
from jaxchat.models.hf_config import HFConfigReader

_NAMES = Names(
    router="block_sparse_moe.gate",
    experts="block_sparse_moe.experts",
    expert=("w1", "w3", "w2"),
    others=(Names(stacking="out_in"),),  # as version 5 of transformers holds them
)
_DEFAULTS = dict(num_key_value_heads=8, max_position_embeddings=131_072, rms_norm_eps=1e-5)


def read(keys: HFConfigReader) -> ModelConfig:
    """Reads the configuration of `MixtralForCausalLM`. Raises ModelError if a key is missing or wrong."""
    keys = keys.or_else(_DEFAULTS)
    rope_tables, window_sizes = rope(keys, 1e6), same_windows(keys, optional_window(keys))
    experts = Experts(
        count=keys.integer("num_local_experts", 8),
        top_k=keys.integer("num_experts_per_tok", 2),
        mlp_dim=keys.integer("intermediate_size"),
    )
    kinds = tuple(LayerKind(rope=rope_tables, window=window, sparse=True) for window in window_sizes)
    return ModelConfig(**sizes(keys), kinds=kinds, experts=experts, names=_NAMES)
