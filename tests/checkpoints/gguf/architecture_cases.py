"""Architectures in GGUF files: their metadata, and the `config.json` that corresponds to each."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tests.checkpoints.gguf import tiny_gguf

SIZES = {
    "context_length": 512,
    "embedding_length": 64,
    "block_count": 4,
    "feed_forward_length": 96,
    "attention.head_count": 4,
    "attention.head_count_kv": 2,
    "attention.layer_norm_rms_epsilon": 1e-5,
    "rope.freq_base": 50_000.0,
}
HF_SIZES: dict[str, Any] = dict(
    vocab_size=40,
    hidden_size=64,
    num_hidden_layers=4,
    intermediate_size=96,
    num_attention_heads=4,
    num_key_value_heads=2,
    max_position_embeddings=512,
    rms_norm_eps=1e-5,
    rope_theta=50_000.0,
    head_dim=16,
)
UNTIED, QKV_BIAS, GATE = "output.weight", "blk.0.attn_q.bias", "blk.0.ffn_gate_exps.weight"
EXPERTS = {"expert_count": 6, "expert_used_count": 2}


@dataclass(frozen=True)
class Case:
    """An architecture.

    Attributes:
        name: the architecture in GGUF files.
        model: prefix of its name in Hugging Face form.
        keys: metadata of its files in addition to `SIZES`.
        hugging_face: keys of its `config.json` in addition to `HF_SIZES`.
        tensors: names of tensors that its files contain, each with one number in a row.
    """

    name: str
    model: str
    keys: dict[str, Any] = field(default_factory=dict)
    hugging_face: dict[str, Any] = field(default_factory=dict)
    tensors: tuple[str, ...] = ()  # of one number each row


CASES = {
    "llama": Case("llama", "Llama", {"rope.dimension_count": 16}, dict(tie_word_embeddings=True)),
    "llama, untied, biases": Case("llama", "Llama", {}, dict(attention_bias=True), (UNTIED, QKV_BIAS)),
    "llama, linear": Case(
        "llama",
        "Llama",
        {"rope.scaling.type": "linear", "rope.scaling.factor": 4.0},
        dict(rope_scaling=dict(rope_type="linear", factor=4.0), tie_word_embeddings=True),
    ),
    "llama, yarn": Case(
        "llama",
        "Llama",
        {
            "rope.scaling.type": "yarn",
            "rope.scaling.factor": 4.0,
            "rope.scaling.original_context_length": 128,
            "rope.scaling.yarn_beta_fast": 16.0,
        },
        dict(
            rope_scaling=dict(rope_type="yarn", factor=4.0, original_max_position_embeddings=128, beta_fast=16.0),
            tie_word_embeddings=True,
        ),
    ),
    "mixtral": Case(
        "llama", "Mixtral", EXPERTS, dict(num_local_experts=6, num_experts_per_tok=2, sliding_window=None), (UNTIED,)
    ),
    "qwen2": Case("qwen2", "Qwen2", {}, dict(tie_word_embeddings=True), (QKV_BIAS,)),
    "qwen2moe": Case(
        "qwen2moe",
        "Qwen2Moe",
        {**EXPERTS, "expert_feed_forward_length": 24, "expert_shared_feed_forward_length": 48},
        dict(num_experts=6, num_experts_per_tok=2, moe_intermediate_size=24, shared_expert_intermediate_size=48),
        (UNTIED, QKV_BIAS, GATE, "blk.0.ffn_gate_shexp.weight"),
    ),
    "qwen3": Case(
        "qwen3", "Qwen3", {"attention.key_length": 32, "attention.value_length": 32}, dict(head_dim=32), (UNTIED,)
    ),
    "qwen3moe": Case(
        "qwen3moe",
        "Qwen3Moe",
        {**EXPERTS, "expert_feed_forward_length": 24},
        dict(num_experts=6, num_experts_per_tok=2, moe_intermediate_size=24, norm_topk_prob=True),
        (UNTIED, GATE),
    ),
    "gemma": Case(
        "gemma",
        "Gemma",
        {"attention.key_length": 32, "attention.value_length": 32},
        dict(head_dim=32, tie_word_embeddings=True),
    ),
    "gemma2": Case(
        "gemma2",
        "Gemma2",
        {
            **{"attention.key_length": 32, "attention.value_length": 32, "attention.sliding_window": 40},
            **{"attn_logit_softcapping": 5.0, "final_logit_softcapping": 3.0},
        },
        dict(
            **dict(head_dim=32, query_pre_attn_scalar=32, sliding_window=40, tie_word_embeddings=True),
            **dict(attn_logit_softcapping=5.0, final_logit_softcapping=3.0),
        ),
    ),
    "gemma3": Case(
        "gemma3",
        "Gemma3",
        {
            **{"attention.key_length": 32, "attention.value_length": 32, "attention.sliding_window": 40},
            **{"rope.scaling.type": "linear", "rope.scaling.factor": 8.0},
        },
        dict(
            **dict(head_dim=32, query_pre_attn_scalar=32, sliding_window=40, tie_word_embeddings=True),
            **dict(rope_scaling=dict(rope_type="linear", factor=8.0), rope_local_base_freq=1e4),
        ),
    ),
    "phi3": Case("phi3", "Phi3", {"attention.sliding_window": 40}, dict(sliding_window=40), (UNTIED,)),
    "phi3, a part of each head": Case(
        "phi3",
        "Phi3",
        {"rope.dimension_count": 12, "attention.sliding_window": 0},
        dict(partial_rotary_factor=0.75, sliding_window=None),
        (UNTIED,),
    ),
    "smollm3": Case("smollm3", "SmolLM3", {}, dict(tie_word_embeddings=True)),
    "gpt-oss": Case(
        "gpt-oss",
        "GptOss",
        {
            **EXPERTS,
            **{"expert_feed_forward_length": 96, "attention.sliding_window": 40, "rope.scaling.type": "yarn"},
            **{"rope.scaling.factor": 4.0, "rope.scaling.original_context_length": 128},
        },
        dict(
            **dict(num_local_experts=6, num_experts_per_tok=2, sliding_window=40),
            rope_scaling=dict(rope_type="yarn", factor=4.0, original_max_position_embeddings=128, truncate=False),
        ),
        (UNTIED, QKV_BIAS, GATE),
    ),
    "granite": Case(
        "granite",
        "Granite",
        {"attention.scale": 0.015625, "embedding_scale": 12.0, "residual_scale": 0.22, "logit_scale": 8.0},
        dict(
            **dict(attention_multiplier=0.015625, embedding_multiplier=12.0, residual_multiplier=0.22),
            **dict(logits_scaling=8.0, tie_word_embeddings=True),
        ),
    ),
    "granitemoe": Case(
        "granitemoe",
        "GraniteMoe",
        {**EXPERTS, "attention.scale": 0.5, "embedding_scale": 12.0, "residual_scale": 0.22, "logit_scale": 6.0},
        dict(
            **dict(attention_multiplier=0.5, embedding_multiplier=12.0, residual_multiplier=0.22, logits_scaling=6.0),
            **dict(num_local_experts=6, num_experts_per_tok=2, tie_word_embeddings=True),
        ),
    ),
    "olmo2": Case("olmo2", "Olmo2", {}, {}, (UNTIED,)),
    "olmo3": Case(
        "olmo2",
        "Olmo3",
        {"attention.sliding_window": 40, "attention.sliding_window_pattern": [True, True, True, False]},
        dict(
            **dict(sliding_window=40, rope_theta=None),
            rope_parameters=dict(full_attention=dict(rope_theta=5e4), sliding_attention=dict(rope_theta=5e4)),
        ),
        (UNTIED,),
    ),
    "command-r": Case(
        "command-r",
        "Cohere",
        {"attention.layer_norm_epsilon": 1e-5, "logit_scale": 0.0625, "rope.scaling.type": "none"},
        dict(layer_norm_eps=1e-5, logit_scale=0.0625, tie_word_embeddings=True),
    ),
    "cohere2": Case(
        "cohere2",
        "Cohere2",
        {"attention.layer_norm_epsilon": 1e-5, "logit_scale": 0.25, "attention.sliding_window": 40},
        dict(layer_norm_eps=1e-5, logit_scale=0.25, sliding_window=40, tie_word_embeddings=True),
    ),
    "exaone4": Case(
        "exaone4",
        "Exaone4",
        {"attention.sliding_window": 40, "attention.sliding_window_pattern": [True, False, True, False]},
        dict(sliding_window=40, layer_types=["sliding_attention", "full_attention"] * 2),
        (UNTIED,),
    ),
    "glm4": Case("glm4", "Glm4", {"rope.dimension_count": 8}, {}, (UNTIED, QKV_BIAS)),
    "seed_oss": Case("seed_oss", "SeedOss", {}, {}, (UNTIED, QKV_BIAS)),
    "ernie4_5": Case("ernie4_5", "Ernie4_5", {}, dict(tie_word_embeddings=True)),
    "hunyuan-dense": Case("hunyuan-dense", "HunYuanDenseV1", {}, dict(tie_word_embeddings=True)),
    "ministral3": Case(
        "mistral3",
        "Ministral3",
        {
            **{"rope.scaling.type": "yarn", "rope.scaling.factor": 4.0, "rope.scaling.original_context_length": 128},
            **{"rope.scaling.yarn_log_multiplier": 1.0, "attention.temperature_scale": 0.1},
        },
        dict(
            rope_parameters=dict(
                **dict(rope_type="yarn", factor=4.0, original_max_position_embeddings=128, rope_theta=5e4),
                **dict(mscale=1.0, mscale_all_dim=1.0, llama_4_scaling_beta=0.1),
            ),
        ),
        (UNTIED,),
    ),
}


def write(path: Path, name: str, keys: dict[str, Any], tensors: dict[str, np.ndarray] | None = None) -> Path:
    metadata = {"general.architecture": name, **{f"{name}.{key}": value for key, value in {**SIZES, **keys}.items()}}
    embedding = {"token_embd.weight": np.zeros((HF_SIZES["vocab_size"], 64))}
    return tiny_gguf.write(path, embedding | (tensors or {}), metadata)
