"""Configurations of well-known models, from their publishers' `config.json`, so that a plan needs no download."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jaxchat.checkpoints.gguf.view import read_gguf_config
from jaxchat.errors import ModelError
from jaxchat.model_directory import gguf_file, read_object
from jaxchat.models.config import ModelConfig
from jaxchat.models.families import from_hugging_face
from jaxchat.planning.stored_forms import Stored, not_quantised, stored_in_config, stored_in_gguf

_LLAMA = dict(architectures=["LlamaForCausalLM"], vocab_size=128_256, rms_norm_eps=1e-5, rope_theta=500_000.0)
_LLAMA_31 = dict(
    factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0, original_max_position_embeddings=8192, rope_type="llama3"
)
_QWEN = dict(architectures=["Qwen2ForCausalLM"], rms_norm_eps=1e-6, rope_theta=1_000_000.0)
_GPT_OSS = dict(
    architectures=["GptOssForCausalLM"], vocab_size=201_088, head_dim=64, num_experts_per_tok=4, sliding_window=128
)
_MISTRAL = dict(vocab_size=131_072, head_dim=128, rms_norm_eps=1e-5, sliding_window=None)
_GEMMA_3 = dict(
    architectures=["Gemma3ForCausalLM"],
    vocab_size=262_208,
    head_dim=256,
    sliding_window=1024,
    rope_scaling=dict(factor=8.0, rope_type="linear"),
)
_GEMMA_4 = dict(
    architectures=["Gemma4ForCausalLM"],
    vocab_size=262_144,
    final_logit_softcapping=30.0,
    hidden_size_per_layer_input=0,
    sliding_window=1024,
    attention_k_eq_v=True,
)
_GEMMA_4_SMALL = {
    **_GEMMA_4,
    "hidden_size_per_layer_input": 256,
    "sliding_window": 512,
    "attention_k_eq_v": False,
}
_GEMMA_4_E2B = {
    **_GEMMA_4_SMALL,
    "layer_types": (["sliding_attention"] * 4 + ["full_attention"]) * 7,
    "use_double_wide_mlp": True,
}
_GEMMA_4_EXPERTS = {**_GEMMA_4, "enable_moe_block": True, "num_experts": 128, "top_k_experts": 8}
_QWEN3_MOE = {**_QWEN, "architectures": ["Qwen3MoeForCausalLM"], "vocab_size": 151_936, "norm_topk_prob": True}


def read_shape(model: str) -> ModelConfig:
    """Reads the configuration of a model.

    Args:
        model: a name in `MODEL_SHAPES`, a `config.json`, a GGUF file, or a folder with one of them.

    Raises:
        ModelError: the model is unknown, or its configuration is not valid JSON or not supported.
    """
    return read_model(model)[0]


def read_model(model: str) -> tuple[ModelConfig, Stored]:
    """Reads the configuration of a model, and the stored forms of its tensors.

    Arguments and errors are those of `read_shape`.
    """
    if model.lower() in MODEL_SHAPES:
        return from_hugging_face(MODEL_SHAPES[model.lower()]), not_quantised
    if file := gguf_file(model):
        return from_hugging_face(read_gguf_config(file)), stored_in_gguf(file)
    path = Path(model).expanduser()
    path = path / "config.json" if path.is_dir() else path
    if not path.exists():
        names = ", ".join(MODEL_SHAPES)
        raise ModelError(
            f"{path}: no such file; give a folder with config.json, such a file, a GGUF file, or one of {names}"
        )
    raw = read_object(path)
    return from_hugging_face(raw), stored_in_config(raw)


def _shape(
    base: dict[str, Any], layers: int, width: int, ffn: int, heads: int, kv_heads: int, context: int, **more: Any
) -> dict[str, Any]:
    return {
        **base,
        "num_hidden_layers": layers,
        "hidden_size": width,
        "intermediate_size": ffn,
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads,
        "max_position_embeddings": context,
        **more,
    }


MODEL_SHAPES: dict[str, dict[str, Any]] = {
    "llama-3-8b": _shape(_LLAMA, 32, 4096, 14_336, 32, 8, 8192),
    "llama-3-70b": _shape(_LLAMA, 80, 8192, 28_672, 64, 8, 8192),
    "llama-3.1-8b": _shape(_LLAMA, 32, 4096, 14_336, 32, 8, 131_072, rope_scaling=_LLAMA_31),
    "llama-3.1-70b": _shape(_LLAMA, 80, 8192, 28_672, 64, 8, 131_072, rope_scaling=_LLAMA_31),
    "llama-3.2-1b": _shape(
        _LLAMA, 16, 2048, 8192, 32, 8, 131_072, rope_scaling={**_LLAMA_31, "factor": 32.0}, tie_word_embeddings=True
    ),
    "qwen2.5-0.5b": _shape(_QWEN, 24, 896, 4864, 14, 2, 32_768, vocab_size=151_936, tie_word_embeddings=True),
    "qwen3-30b-a3b": _shape(
        _QWEN3_MOE, 48, 2048, 6144, 32, 4, 40_960, head_dim=128, num_experts=128, moe_intermediate_size=768
    ),
    "mistral-small-3.2-24b": _shape(
        _MISTRAL, 40, 5120, 32_768, 32, 8, 131_072, architectures=["MistralForCausalLM"], rope_theta=1e9
    ),
    "ministral-3-8b": _shape(_MISTRAL, 34, 4096, 14_336, 32, 8, 262_144, architectures=["Ministral3ForCausalLM"]),
    "gpt-oss-20b": _shape(_GPT_OSS, 24, 2880, 2880, 64, 8, 131_072, num_local_experts=32),
    "gpt-oss-120b": _shape(_GPT_OSS, 36, 2880, 2880, 64, 8, 131_072, num_local_experts=128),
    "gemma-3-4b": _shape(_GEMMA_3, 34, 2560, 10_240, 8, 4, 131_072),
    "gemma-3-12b": _shape(_GEMMA_3, 48, 3840, 15_360, 16, 8, 131_072),
    "gemma-3-27b": _shape(_GEMMA_3, 62, 5376, 21_504, 32, 16, 131_072, head_dim=128, query_pre_attn_scalar=168),
    "gemma-4-e2b": _shape(_GEMMA_4_E2B, 35, 1536, 6144, 8, 1, 131_072, num_kv_shared_layers=20),
    "gemma-4-e4b": _shape(_GEMMA_4_SMALL, 42, 2560, 10_240, 8, 2, 131_072, num_kv_shared_layers=18),
    "gemma-4-26b-a4b": _shape(
        _GEMMA_4_EXPERTS, 30, 2816, 2112, 16, 8, 262_144, num_global_key_value_heads=2, moe_intermediate_size=704
    ),
    "gemma-4-31b": _shape(_GEMMA_4, 60, 5376, 21_504, 32, 16, 262_144, num_global_key_value_heads=4),
    "qwen2.5-7b": _shape(_QWEN, 28, 3584, 18_944, 28, 4, 32_768, vocab_size=152_064),
}
