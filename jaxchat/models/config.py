"""The shape of a decoder, read from a Hugging Face `config.json`."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jaxchat.errors import ModelError
from jaxchat.models.rope import RopeConfig

SUPPORTED = {"LlamaForCausalLM": "llama", "Qwen2ForCausalLM": "qwen2"}


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """Llama-style decoder: RMSNorm, rotary positions, grouped-query attention, SwiGLU.

    Letters: V vocabulary, L layers, H query heads, K KV heads, D model width, F feed-forward width, d head width.
    """

    vocab_size: int  # V
    layers: int  # L
    heads: int  # H
    kv_heads: int  # K
    width: int  # D
    ffn_width: int  # F
    head_width: int  # d
    context: int
    rope: RopeConfig = RopeConfig()
    norm_eps: float = 1e-6
    qkv_bias: bool = False
    out_bias: bool = False
    mlp_bias: bool = False
    tied: bool = False
    family: str = "llama"

    def __post_init__(self) -> None:
        for name in ("vocab_size", "layers", "heads", "kv_heads", "width", "ffn_width", "head_width", "context"):
            if getattr(self, name) < 1:
                raise ModelError(f"config.json: {name} must be at least 1, got {getattr(self, name)}")
        if self.heads % self.kv_heads:
            raise ModelError(f"config.json: {self.heads} query heads are no multiple of {self.kv_heads} KV heads")
        if self.head_width % 2:
            raise ModelError(f"config.json: head width must be even for rotary positions, got {self.head_width}")

    @property
    def group(self) -> int:
        """Query heads per KV head."""
        return self.heads // self.kv_heads

    @property
    def parameters(self) -> int:
        """Number of weights, counting a tied embedding once."""
        attention = self.width * self.head_width * (2 * self.heads + 2 * self.kv_heads)
        layer = attention + 3 * self.width * self.ffn_width + 2 * self.width
        tables = self.vocab_size * self.width * (1 if self.tied else 2)
        return self.layers * layer + tables + self.width


def read_config(directory: Path) -> ModelConfig:
    """Reads `directory/config.json`.

    Raises:
        ModelError: the file is missing or no JSON, a key is missing, or the architecture is not supported.
    """
    path = directory / "config.json"
    try:
        raw = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise ModelError(f"{path}: not found; a model is a folder with config.json and safetensors files") from None
    except ValueError as error:
        raise ModelError(f"{path}: not valid JSON ({error})") from None
    try:
        return from_hugging_face(raw)
    except KeyError as error:
        raise ModelError(f"{path}: key {error} is missing") from None


def from_hugging_face(raw: dict[str, Any]) -> ModelConfig:
    """Maps the keys of a Hugging Face configuration; refuses what would be computed wrongly."""
    architecture = (raw.get("architectures") or ["none named"])[0]
    if architecture not in SUPPORTED:
        raise ModelError(f"architecture {architecture} is not supported; supported: {', '.join(SUPPORTED)}")
    family = SUPPORTED[architecture]
    if raw.get("hidden_act", "silu") != "silu":
        raise ModelError(f"config.json: hidden_act {raw['hidden_act']!r} is not supported; supported: silu")
    if raw.get("use_sliding_window"):
        raise ModelError("config.json: use_sliding_window is not supported")
    heads = raw["num_attention_heads"]
    attention_bias = bool(raw.get("attention_bias", False))
    return ModelConfig(
        vocab_size=raw["vocab_size"],
        layers=raw["num_hidden_layers"],
        heads=heads,
        kv_heads=raw.get("num_key_value_heads") or heads,
        width=raw["hidden_size"],
        ffn_width=raw["intermediate_size"],
        head_width=raw.get("head_dim") or raw["hidden_size"] // heads,
        context=raw.get("max_position_embeddings", 2048),
        rope=RopeConfig.from_hugging_face(raw),
        norm_eps=raw.get("rms_norm_eps", 1e-6),
        qkv_bias=attention_bias or family == "qwen2",
        out_bias=attention_bias,
        mlp_bias=bool(raw.get("mlp_bias", False)),
        tied=bool(raw.get("tie_word_embeddings", False)),
        family=family,
    )
