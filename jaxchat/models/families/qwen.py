"""Qwen 2 and 2.5 have biases on queries, keys and values. Qwen 3 has none, and normalises queries and keys."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from jaxchat.models.config import Experts, LayerKind, ModelConfig
from jaxchat.models.families.common import kinds, optional_window, rope, same_windows, sizes, windows
from jaxchat.models.hf_config import HFConfigReader

_DEFAULTS = dict(num_key_value_heads=32, max_position_embeddings=32_768, sliding_window=4096)
_DEFAULTS_2_EXPERTS = _DEFAULTS | dict(num_key_value_heads=16)
_DEFAULTS_EXPERTS = _DEFAULTS | dict(num_key_value_heads=4)


def read_2(keys: HFConfigReader) -> ModelConfig:
    """Reads `Qwen2ForCausalLM`."""
    keys = keys.or_else(_DEFAULTS)
    return ModelConfig(**sizes(keys), kinds=_kinds(keys), qkv_bias=True)


def read_2_experts(keys: HFConfigReader) -> ModelConfig:
    """Reads `Qwen2MoeForCausalLM`: experts, and beside them a layer that every token passes."""
    keys = keys.or_else(_DEFAULTS_2_EXPERTS)
    window = optional_window(keys) if keys.flag("use_sliding_window") else 0
    full = keys.integer("max_window_layers", 28, least=0)
    early = tuple(index % 2 == 0 and index < full for index in range(keys.integer("num_hidden_layers")))
    experts = Experts(
        count=keys.integer("num_experts", 60),
        top_k=keys.integer("num_experts_per_tok", 4),
        mlp_dim=keys.integer("moe_intermediate_size", 1408),
        shared_dim=keys.integer("shared_expert_intermediate_size", 5632),
        normalized=keys.flag("norm_topk_prob"),
    )
    layers = _with_experts(keys, kinds(rope(keys), windows(keys, early, window)))
    return ModelConfig(**sizes(keys), kinds=layers, qkv_bias=keys.flag("qkv_bias", True), experts=experts)


def read_3(keys: HFConfigReader) -> ModelConfig:
    """Reads `Qwen3ForCausalLM`."""
    keys = keys.or_else(_DEFAULTS)
    return _version_3(keys, _kinds(keys), head_dim=keys.integer("head_dim", 128))


def read_3_experts(keys: HFConfigReader) -> ModelConfig:
    """Reads `Qwen3MoeForCausalLM`: some layers, by default all, have experts. All layers share one window."""
    keys = keys.or_else(_DEFAULTS_EXPERTS)
    window = optional_window(keys) if keys.flag("use_sliding_window") else 0
    return _version_3(
        keys,
        _with_experts(keys, kinds(rope(keys), same_windows(keys, window))),
        experts=Experts(
            count=keys.integer("num_experts", keys.integer("num_local_experts", 128)),
            top_k=keys.integer("num_experts_per_tok", 8),
            mlp_dim=keys.integer("moe_intermediate_size", 768),
            normalized=keys.flag("norm_topk_prob"),
        ),
    )


def _version_3(keys: HFConfigReader, layers: tuple[LayerKind, ...], **changes: Any) -> ModelConfig:
    bias = keys.flag("attention_bias")
    settings = sizes(keys) | dict(kinds=layers, qk_norm=True, qkv_bias=bias, out_bias=bias) | changes
    return ModelConfig(**settings)


def _with_experts(keys: HFConfigReader, layers: tuple[LayerKind, ...]) -> tuple[LayerKind, ...]:
    """Returns the layers, with experts in every `decoder_sparse_step`th one that `mlp_only_layers` does not name."""
    dense, step = keys.numbers("mlp_only_layers"), keys.integer("decoder_sparse_step", 1)
    return tuple(
        replace(kind, sparse=index not in dense and (index + 1) % step == 0) for index, kind in enumerate(layers)
    )


def _kinds(keys: HFConfigReader) -> tuple[LayerKind, ...]:
    """Returns layers with a window from layer `max_window_layers` on, if `use_sliding_window` is true."""
    window = optional_window(keys) if keys.flag("use_sliding_window") else 0
    full = keys.integer("max_window_layers", 28, least=0)
    late = tuple(index >= full for index in range(keys.integer("num_hidden_layers")))
    return kinds(rope(keys), windows(keys, late, window))
