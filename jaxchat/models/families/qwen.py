"""Qwen 2 and 2.5 have biases on queries, keys and values. Qwen 3 has none, and normalises queries and keys."""

from __future__ import annotations

from dataclasses import replace

from jaxchat.models.config import Experts, LayerKind, ModelConfig
from jaxchat.models.families.common import kinds, rope, sizes, windows
from jaxchat.models.hf_config import HFConfigReader


def read_2(keys: HFConfigReader) -> ModelConfig:
    """Reads `Qwen2ForCausalLM`."""
    return ModelConfig(**sizes(keys), kinds=_kinds(keys), qkv_bias=True)


def read_3(keys: HFConfigReader) -> ModelConfig:
    """Reads `Qwen3ForCausalLM`."""
    bias = keys.flag("attention_bias")
    settings = sizes(keys) | dict(head_dim=keys.integer("head_dim", 128))
    return ModelConfig(**settings, kinds=_kinds(keys), qk_norm=True, qkv_bias=bias, out_bias=bias)


def read_3_experts(keys: HFConfigReader) -> ModelConfig:
    """Reads `Qwen3MoeForCausalLM`: some layers, by default all, have experts."""
    dense, step = keys.numbers("mlp_only_layers"), keys.integer("decoder_sparse_step", 1)
    plain = read_3(keys)
    kinds = tuple(
        replace(kind, sparse=index not in dense and (index + 1) % step == 0) for index, kind in enumerate(plain.kinds)
    )
    experts = Experts(
        count=keys.integer("num_experts", keys.integer("num_local_experts", 128)),
        top_k=keys.integer("num_experts_per_tok", 8),
        mlp_dim=keys.integer("moe_intermediate_size", 768),
        normalized=keys.flag("norm_topk_prob"),
    )
    return replace(plain, kinds=kinds, experts=experts)


def _kinds(keys: HFConfigReader) -> tuple[LayerKind, ...]:
    """Returns layers with a window from layer `max_window_layers` on, if `use_sliding_window` is true."""
    layers = keys.integer("num_hidden_layers")
    if not keys.flag("use_sliding_window") or not keys.has("sliding_window"):
        return kinds(rope(keys), (0,) * layers)
    full = keys.integer("max_window_layers", 28, least=0)
    late = tuple(index >= full for index in range(layers))
    return kinds(rope(keys), windows(keys, late, keys.integer("sliding_window")))
