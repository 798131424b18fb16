"""Qwen 2 and 2.5: Llama with biases on queries, keys and values. Qwen 3 normalises queries and keys instead.

Models with "VL" in their names also see images. This module reads their text part. In these models, sections of each
head are rotated by different coordinates of an image. Every coordinate of a text token equals its position, so text has
plain RoPE.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from jaxchat.models.config import Experts, LayerKind, ModelConfig, Names
from jaxchat.models.families.common import kinds, optional_window, rope, same_windows, sizes, text_part, windows
from jaxchat.models.hf_config import HFConfigReader

_DEFAULTS = dict(num_key_value_heads=32, max_position_embeddings=32_768, sliding_window=4096)
_DEFAULTS_2_EXPERTS = _DEFAULTS | dict(num_key_value_heads=16)
_DEFAULTS_EXPERTS = _DEFAULTS | dict(num_key_value_heads=4)
_DEFAULTS_VL_2 = _DEFAULTS | dict(num_key_value_heads=8, rms_norm_eps=1e-5)
_DEFAULTS_VL_3 = dict(num_key_value_heads=32, head_dim=128, max_position_embeddings=128_000)
_DEFAULTS_VL_3_EXPERTS = dict(num_key_value_heads=16, max_position_embeddings=128_000)
_NAMES_EXPERTS = Names(others=(Names(stacking="out_in"),))  # as version 5 of transformers holds them
_VL = Names(prefixes=("model.language_model.", "model."), ignored=("visual.", "model.visual."))
_VL_EXPERTS = replace(_VL, stacking="in_out", others=(replace(_VL, stacking="out_in"), _VL))


def read_2(keys: HFConfigReader) -> ModelConfig:
    """Reads the configuration of `Qwen2ForCausalLM`. Raises ModelError if a key is missing or wrong."""
    keys = keys.or_else(_DEFAULTS)
    return ModelConfig(**sizes(keys), kinds=_kinds(keys), qkv_bias=True)


def read_2_text(keys: HFConfigReader) -> ModelConfig:
    """Reads the text part of `Qwen2VLForConditionalGeneration` and `Qwen2_5_VLForConditionalGeneration`.

    Raises ModelError if a key is missing or wrong.
    """
    tied = keys.inner("text_config").flag("tie_word_embeddings") or keys.flag("tie_word_embeddings")
    text = keys.inner("text_config") if keys.has("text_config") else keys  # published ones have no such part
    text = _without_sections(text.or_else(_DEFAULTS_VL_2).replaced(dict(tie_word_embeddings=tied)))
    return ModelConfig(**sizes(text), kinds=_kinds(text, full=80, theta=1e6), qkv_bias=True, names=_VL)


def read_2_experts(keys: HFConfigReader) -> ModelConfig:
    """Reads the configuration of `Qwen2MoeForCausalLM`, in which every token also passes through a shared expert.

    Raises ModelError if a key is missing or wrong.
    """
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
    bias = keys.flag("qkv_bias", True)
    return ModelConfig(**sizes(keys), kinds=layers, qkv_bias=bias, experts=experts, names=_NAMES_EXPERTS)


def read_3(keys: HFConfigReader) -> ModelConfig:
    """Reads the configuration of `Qwen3ForCausalLM`. Raises ModelError if a key is missing or wrong."""
    keys = keys.or_else(_DEFAULTS)
    return _version_3(keys, _kinds(keys), head_dim=keys.integer("head_dim", 128))


def read_3_experts(keys: HFConfigReader) -> ModelConfig:
    """Reads the configuration of `Qwen3MoeForCausalLM`.

    By default all layers have experts. All layers have the same window, or none.

    Raises ModelError if a key is missing or wrong.
    """
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
        names=_NAMES_EXPERTS,
    )


def read_3_text(keys: HFConfigReader) -> ModelConfig:
    """Reads the text part of `Qwen3VLForConditionalGeneration`. Raises ModelError if a key is missing or wrong."""
    text = text_part(keys, tied=False).or_else(_DEFAULTS_VL_3)
    return _version_3(text, kinds(rope(text, 5e5), same_windows(text, 0)), names=_VL)


def read_3_experts_text(keys: HFConfigReader) -> ModelConfig:
    """Reads the text part of `Qwen3VLMoeForConditionalGeneration`. Raises ModelError if a key is missing or wrong."""
    text = text_part(keys, tied=False).or_else(_DEFAULTS_VL_3_EXPERTS)
    return _version_3(
        text,
        _with_experts(text, kinds(rope(text, 5e5), same_windows(text, 0))),
        experts=Experts(
            count=text.integer("num_experts", text.integer("num_local_experts", 60)),
            top_k=text.integer("num_experts_per_tok", 4),
            mlp_dim=text.integer("moe_intermediate_size", 1408),
        ),
        names=_VL_EXPERTS,
    )


def _version_3(keys: HFConfigReader, layers: tuple[LayerKind, ...], **changes: Any) -> ModelConfig:
    bias = keys.flag("attention_bias")
    settings = sizes(keys) | dict(kinds=layers, qk_norm=True, qkv_bias=bias, out_bias=bias) | changes
    return ModelConfig(**settings)


def _with_experts(keys: HFConfigReader, layers: tuple[LayerKind, ...]) -> tuple[LayerKind, ...]:
    """Returns the layers with experts in every `decoder_sparse_step`-th one, except those in `mlp_only_layers`."""
    dense, step = keys.numbers("mlp_only_layers"), keys.integer("decoder_sparse_step", 1)
    return tuple(
        replace(kind, sparse=index not in dense and (index + 1) % step == 0) for index, kind in enumerate(layers)
    )


def _kinds(keys: HFConfigReader, *, full: int = 28, theta: float = 1e4) -> tuple[LayerKind, ...]:
    """Returns the kind of each layer. If `use_sliding_window` is true, some layers have a window.

    `layer_types` says which layers have one. By default, these are all layers from number `max_window_layers` on.
    `full` and `theta` are the defaults of `max_window_layers` and of the rotary base.
    """
    window = optional_window(keys) if keys.flag("use_sliding_window") else 0
    full = keys.integer("max_window_layers", full, least=0)
    late = tuple(index >= full for index in range(keys.integer("num_hidden_layers")))
    return kinds(rope(keys, theta), windows(keys, late, window))


def _without_sections(keys: HFConfigReader) -> HFConfigReader:
    """Returns the keys with plain RoPE in place of the type "mrope", which differs for images only."""
    for key in ("rope_scaling", "rope_parameters"):
        settings = keys.inner(key)
        if settings.word("rope_type", settings.word("type", "")) == "mrope":
            keys = keys.replaced({key: {**settings.values, "rope_type": "default"}})
    return keys
