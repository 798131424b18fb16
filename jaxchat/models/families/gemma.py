"""Gemma 1 (arXiv 2403.08295), 2 (arXiv 2408.00118) and 3 (arXiv 2503.19786).

Embeddings are scaled, and norms add 1 to their scales. From version 2 on, some layers have a sliding window, and norms
stand before and after the attention and MLP sublayers. Version 2 caps scores and logits. Version 3 normalises queries
and keys.
"""

from __future__ import annotations

import math
from typing import Any

from jaxchat.errors import ModelError
from jaxchat.models.config import LayerKind, ModelConfig, Names
from jaxchat.models.families.common import (
    activation,
    kinds,
    names_in_llava,
    optional_window,
    rope,
    rope_by_type,
    same_windows,
    sizes,
    text_part,
    windows,
)
from jaxchat.models.hf_config import HFConfigReader

_NAMES = Names(mlp_norm="pre_feedforward_layernorm")
_DEFAULTS_1 = dict(
    num_key_value_heads=16,
    head_dim=256,
    max_position_embeddings=8192,
    hidden_act="gelu_pytorch_tanh",
    tie_word_embeddings=True,
)
_SHARED = dict(num_key_value_heads=4, head_dim=256, sliding_window=4096, tie_word_embeddings=True)
_DEFAULTS_2 = _SHARED | dict(max_position_embeddings=8192, attn_logit_softcapping=50.0, final_logit_softcapping=30.0)
_DEFAULTS_3 = _SHARED | dict(vocab_size=262_208, num_attention_heads=8, max_position_embeddings=131_072)


def read_1(keys: HFConfigReader) -> ModelConfig:
    """Reads the configuration of `GemmaForCausalLM`. Raises ModelError if a key is missing, wrong or not supported."""
    keys = keys.or_else(_DEFAULTS_1)
    if keys.word("hidden_act", "") == "gelu":  # in the first published checkpoints, which mean the approximation
        keys = keys.replaced(dict(hidden_act="gelu_pytorch_tanh"))
    if keys.flag("use_bidirectional_attention"):
        raise ModelError("config.json: use_bidirectional_attention is not supported")
    settings, bias = sizes(keys), keys.flag("attention_bias")
    return ModelConfig(
        **settings,
        kinds=kinds(rope(keys), same_windows(keys, 0)),
        norm_offset=1.0,
        qkv_bias=bias,
        out_bias=bias,
        embed_scale=math.sqrt(settings["embed_dim"]),
        round_embed_scale=True,
    )


def read_2(keys: HFConfigReader) -> ModelConfig:
    """Reads the configuration of `Gemma2ForCausalLM`. Raises ModelError if a key is missing, wrong or not supported."""
    keys = keys.or_else(_DEFAULTS_2)
    every_other = tuple(index % 2 == 0 for index in range(keys.integer("num_hidden_layers")))
    return ModelConfig(
        **_shared(keys),
        kinds=kinds(rope(keys), windows(keys, every_other, optional_window(keys))),
        attn_logit_softcap=keys.number("attn_logit_softcapping", 0.0),
        final_logit_softcap=keys.number("final_logit_softcapping", 0.0),
        names=_NAMES,
    )


def read_3(keys: HFConfigReader, names: Names = _NAMES) -> ModelConfig:
    """Reads the configuration of `Gemma3ForCausalLM`. Raises ModelError if a key is missing, wrong or not supported.

    Ignores `attn_logit_softcapping`, which `transformers` reads but does not apply.
    """
    keys = keys.or_else(_DEFAULTS_3)
    return ModelConfig(
        **_shared(keys),
        kinds=_kinds_3(keys),
        qk_norm=True,
        final_logit_softcap=keys.number("final_logit_softcapping", 0.0),
        names=names,
    )


def read_3_text(keys: HFConfigReader) -> ModelConfig:
    """Reads the text part of `Gemma3ForConditionalGeneration`. Ignores its image parts. Raises as `read_3` does."""
    return read_3(text_part(keys, tied=True), names_in_llava(_NAMES))


def _shared(keys: HFConfigReader) -> dict[str, Any]:
    if keys.flag("use_bidirectional_attention"):
        raise ModelError("config.json: use_bidirectional_attention is not supported")
    bias = keys.flag("attention_bias")
    settings = sizes(keys) | dict(activation=activation(keys, "hidden_activation", "gelu_pytorch_tanh"))
    return settings | dict(
        norm_offset=1.0,
        post_norms=True,
        qkv_bias=bias,
        out_bias=bias,
        embed_scale=math.sqrt(settings["embed_dim"]),
        round_embed_scale=True,
        query_scale=keys.number("query_pre_attn_scalar", 256, positive=True) ** -0.5,
    )


def _kinds_3(keys: HFConfigReader) -> tuple[LayerKind, ...]:
    """Returns the layers. Layers with a window have a separate rotary embedding."""
    layers, every = keys.integer("num_hidden_layers"), keys.integer("sliding_window_pattern", 6)
    sliding = tuple((index + 1) % every != 0 for index in range(layers))
    window_sizes = windows(keys, sliding, optional_window(keys))
    local_base = keys.number("rope_local_base_freq", 1e4, positive=True)
    global_rope, local_rope = rope_by_type(keys, 1e6, local_base)
    return tuple(LayerKind(rope=local_rope if window else global_rope, window=window) for window in window_sizes)
