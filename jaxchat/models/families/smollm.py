"""SmolLM 3: Llama in which every fourth layer lacks positions (NoPE, arXiv 2501.18795). SmolLM 2 is plain Llama."""

from __future__ import annotations

from jaxchat.models.config import LayerKind, ModelConfig
from jaxchat.models.families.common import rope, sizes, windows
from jaxchat.models.hf_config import HFConfigReader


def read_3(keys: HFConfigReader) -> ModelConfig:
    """Reads `SmolLM3ForCausalLM`."""
    bias = keys.flag("attention_bias")
    settings = sizes(keys) | dict(tie_embeddings=keys.flag("tie_word_embeddings", True))
    return ModelConfig(**settings, kinds=_kinds(keys), qkv_bias=bias, out_bias=bias, mlp_bias=keys.flag("mlp_bias"))


def _kinds(keys: HFConfigReader) -> tuple[LayerKind, ...]:
    layers, every = keys.integer("num_hidden_layers"), keys.integer("no_rope_layer_interval", 4)
    knows = keys.numbers("no_rope_layers") or tuple((index + 1) % every for index in range(layers))
    window = keys.integer("sliding_window") if keys.flag("use_sliding_window") else 0
    window_sizes = windows(keys, tuple(not known for known in knows), window)
    rope_tables = rope(keys, 2e6)
    pairs = zip(knows, window_sizes, strict=False)  # ModelConfig checks the number of layers
    return tuple(LayerKind(rope=rope_tables if known else None, window=size) for known, size in pairs)
