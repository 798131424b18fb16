"""Reads the keys of a configuration that differ between the architectures of GGUF files.

Each public function gets the metadata and `base`, the result of `base_config`. It returns keys of a `config.json` that
are added to `base` or replace keys in `base`. It raises ModelError if a key is missing, wrong or not supported.
"""

from __future__ import annotations

from typing import Any

from jaxchat.checkpoints.gguf.config import ModelKeys, experts, windows
from jaxchat.errors import ModelError

Config = dict[str, Any]
"""The object in a `config.json`."""
_LAYERS_OF_GEMMA_2_27B, _LAYERS_OF_GEMMA_3_27B = 46, 62


def llama(keys: ModelKeys, base: Config) -> Config:
    """Returns the keys to add to `base` for Mixtral, or none if the model has no experts."""
    if not keys.has("expert_count") or not keys.integer("expert_count"):
        keys.metadata.ignore(keys.name("expert_used_count"))
        return {}
    return {"architectures": ["MixtralForCausalLM"], **experts(keys, "num_local_experts"), "sliding_window": None}


def mistral_3(keys: ModelKeys, base: Config) -> Config:
    """Returns the keys to put into `base`.

    If positions scale the queries, the model is Ministral 3. Otherwise it is Mistral.
    """
    if not keys.has("attention.temperature_scale"):
        return {"sliding_window": None}
    return {"architectures": ["Ministral3ForCausalLM"], "rope_scaling": _with_query_scale(keys, base)}


def _with_query_scale(keys: ModelKeys, base: Config) -> Config:
    scale = keys.number("rope.scaling.yarn_log_multiplier", 0.0)
    return base.get("rope_scaling", {}) | {
        "mscale": 1.0,
        "mscale_all_dim": scale,
        "llama_4_scaling_beta": keys.number("attention.temperature_scale"),
    }


def qwen(keys: ModelKeys, base: Config) -> Config:
    """Returns the keys to add to `base` for Qwen 2 and Qwen 3, for models without experts."""
    return {"use_sliding_window": False, "sliding_window": None}


def qwen_2_experts(keys: ModelKeys, base: Config) -> Config:
    """Returns the keys to add to `base` for Qwen 2 with experts.

    Raises ModelError if a key of the file is missing or wrong.
    """
    return {
        **qwen(keys, base),
        **experts(keys, "num_experts"),
        "moe_intermediate_size": keys.integer("expert_feed_forward_length", _expert_dim(keys)),
        "shared_expert_intermediate_size": keys.integer(
            "expert_shared_feed_forward_length", keys.shape("blk.0.ffn_gate_shexp.weight")[0]
        ),
        "norm_topk_prob": False,
        "qkv_bias": keys.stores("blk.0.attn_q.bias"),
    }


def qwen_3_experts(keys: ModelKeys, base: Config) -> Config:
    """Returns the keys to add to `base` for Qwen 3 with experts.

    Raises ModelError if a key of the file is missing or wrong.
    """
    return {
        **qwen(keys, base),
        **experts(keys, "num_experts"),
        "moe_intermediate_size": keys.integer("expert_feed_forward_length", _expert_dim(keys)),
        "norm_topk_prob": True,
    }


def _expert_dim(keys: ModelKeys) -> int:
    return keys.shape("blk.0.ffn_gate_exps.weight")[1]


def gemma_2(keys: ModelKeys, base: Config) -> Config:
    """Returns the keys to add to `base` for Gemma 2. Raises ModelError if a key of the file is missing or wrong."""
    return {
        "query_pre_attn_scalar": _query_scalar(keys, _LAYERS_OF_GEMMA_2_27B),
        "attn_logit_softcapping": keys.number("attn_logit_softcapping", 50.0),
        "final_logit_softcapping": keys.number("final_logit_softcapping", 30.0),
        **windows(keys, {}),
    }


def gemma_3(keys: ModelKeys, base: Config) -> Config:
    """Returns the keys to add to `base` for Gemma 3. Raises ModelError if a key of the file is missing or wrong."""
    return {
        "query_pre_attn_scalar": _query_scalar(keys, _LAYERS_OF_GEMMA_3_27B),
        "final_logit_softcapping": keys.number("final_logit_softcapping", 0.0),
        "rope_theta": keys.number("rope.freq_base", 1e6),
        "rope_local_base_freq": keys.number("rope.freq_base_swa", 1e4),
        **windows(keys, {"sliding_window_pattern": 6}),
    }


def _query_scalar(keys: ModelKeys, exception: int) -> int:
    """Returns `query_pre_attn_scalar`: attention scores are divided by its square root.

    The scalar is the head dimension, except in models with 27 billion weights. The files lack this setting. As other
    readers do, this function recognises those models by their number of layers, `exception`.
    """
    if keys.integer("block_count") == exception:
        return keys.integer("embedding_length") // keys.integer("attention.head_count")
    return keys.integer("attention.key_length")


def window(keys: ModelKeys, base: Config) -> Config:
    """Returns the keys about windows to add to `base` for Phi 3 and EXAONE 4.

    Raises:
        ModelError: a key is wrong.
    """
    return windows(keys, {})


def gpt_oss(keys: ModelKeys, base: Config) -> Config:
    """Returns the keys to add to `base` for gpt-oss. Raises ModelError if a key of the file is missing or wrong."""
    return {
        **experts(keys, "num_local_experts"),
        "intermediate_size": keys.integer("expert_feed_forward_length", _expert_dim(keys)),
        "rope_scaling": base.get("rope_scaling", {}) | {"truncate": False},
        **windows(keys, {}),
    }


def granite(keys: ModelKeys, base: Config) -> Config:
    """Returns the keys to add to `base` for Granite 3. A missing key counts as 1. Raises ModelError if one is wrong."""
    return {
        "embedding_multiplier": keys.number("embedding_scale", 1.0),
        "attention_multiplier": keys.number("attention.scale", 1.0),
        "residual_multiplier": keys.number("residual_scale", 1.0),
        "logits_scaling": keys.number("logit_scale", 1.0),
    }


def granite_experts(keys: ModelKeys, base: Config) -> Config:
    """Returns the keys to add to `base` for Granite 3 with experts.

    Raises ModelError if a key of the file is missing or wrong.
    """
    if keys.has("expert_shared_feed_forward_length"):
        raise ModelError(f"{keys.file.path}: shared experts of granitemoe are not supported")
    return {**granite(keys, base), **experts(keys, "num_local_experts")}


def olmo_2(keys: ModelKeys, base: Config) -> Config:
    """Returns the keys to add to `base` for OLMo 3 if the model has a window, and none for OLMo 2."""
    found = windows(keys, {})
    if not found["sliding_window"]:
        return {}
    plain = {"rope_theta": base["rope_theta"], "rope_type": "default"}
    local = plain | {"rope_theta": keys.number("rope.freq_base_swa", base["rope_theta"])}
    parameters = {"full_attention": plain | base.get("rope_scaling", {}), "sliding_attention": local}
    rope = {"rope_theta": None, "rope_scaling": None, "rope_parameters": parameters}
    return {"architectures": ["Olmo3ForCausalLM"], **found, **rope}


def cohere(keys: ModelKeys, base: Config) -> Config:
    """Returns the keys to add to `base` for Command R. Raises ModelError if a key of the file is missing or wrong."""
    return {
        "layer_norm_eps": keys.number("attention.layer_norm_epsilon"),
        "logit_scale": keys.number("logit_scale"),
    }


def cohere_2(keys: ModelKeys, base: Config) -> Config:
    """Returns the keys to add to `base` for Command R7B. Raises ModelError if a key of the file is missing or wrong."""
    return {**cohere(keys, base), **windows(keys, {"sliding_window_pattern": 4})}


def seed_oss(keys: ModelKeys, base: Config) -> Config:
    """Returns the keys to add to `base` for Seed-OSS."""
    return {"attention_out_bias": keys.stores("blk.0.attn_output.bias")}
