"""Writes the model to measure in Hugging Face format: the shape of a real model with random weights."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from jaxchat.checkpoints.huggingface import save_hf
from jaxchat.models.config import ModelConfig
from tools.bench.shapes import random_params
from tools.bench.text import SPECIAL, TEMPLATE, tokenizer


def make(directory: Path, config: ModelConfig, dtype: str) -> Path:
    """Writes a model to `directory` unless it exists, and returns `directory`.

    Writes `config.json` last, so a directory with that file is complete.

    Args:
        directory: the model directory.
        config: the shape of the model.
        dtype: dtype of the weights.
    """
    if (directory / "config.json").exists():
        return directory
    directory.mkdir(parents=True, exist_ok=True)
    config = replace(config, qkv_bias=True)  # as in the whole family, which every peer supports
    save_hf(random_params(config, dtype), config, directory, dtype)
    tokenizer(config.vocab_size).save(str(directory / "tokenizer.json"))
    raw = hugging_face(config, dtype)
    texts = {"chat_template": TEMPLATE, "eos_token": SPECIAL[-1]}
    (directory / "tokenizer_config.json").write_text(json.dumps(texts), "utf-8")
    (directory / "generation_config.json").write_text(json.dumps({"eos_token_id": raw["eos_token_id"]}), "utf-8")
    (directory / "config.json").write_text(json.dumps(raw, indent=1), "utf-8")
    return directory


def hugging_face(config: ModelConfig, dtype: str) -> dict[str, Any]:
    """Returns the `config.json` of a Qwen2 model.

    Args:
        config: the shape of the model. All layers must be equal.
        dtype: the entry `dtype`.
    """
    rope = config.kinds[0].rope
    assert rope, "every layer of this family has rotary positions"
    return {
        "architectures": ["Qwen2ForCausalLM"],
        "model_type": "qwen2",
        "vocab_size": config.vocab_size,
        "hidden_size": config.embed_dim,
        "intermediate_size": config.mlp_dim,
        "num_hidden_layers": config.num_layers,
        "num_attention_heads": config.num_heads,
        "num_key_value_heads": config.num_kv_heads,
        "head_dim": config.head_dim,
        "max_position_embeddings": config.max_seq_len,
        "rms_norm_eps": config.norm_eps,
        "rope_theta": rope.theta,
        "rope_parameters": {"rope_type": "default", "rope_theta": rope.theta},
        "hidden_act": "silu",
        "tie_word_embeddings": config.tie_embeddings,
        "use_sliding_window": False,
        "dtype": dtype,
        "torch_dtype": dtype,
        "eos_token_id": config.vocab_size - 1,
    }
