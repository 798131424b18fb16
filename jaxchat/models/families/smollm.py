"""SmolLM 3: Llama in which every fourth layer has no positional embedding (NoPE, arXiv 2501.18795)."""

from __future__ import annotations

from jaxchat.models.config import LayerKind, ModelConfig
from jaxchat.models.families.common import optional_window, rope, sizes, windows
from jaxchat.models.hf_config import HFConfigReader

_DEFAULTS = dict(num_key_value_heads=4, max_position_embeddings=32_768, tie_word_embeddings=True)


def read_3(keys: HFConfigReader) -> ModelConfig:
    """Reads the configuration of `SmolLM3ForCausalLM`. Raises ModelError if a key is missing or wrong."""
    keys = keys.or_else(_DEFAULTS)
    bias = keys.flag("attention_bias")
    mlp_bias = keys.flag("mlp_bias")
    return ModelConfig(**sizes(keys), kinds=_kinds(keys), qkv_bias=bias, out_bias=bias, mlp_bias=mlp_bias)


def _kinds(keys: HFConfigReader) -> tuple[LayerKind, ...]:
    layers, every = keys.integer("num_hidden_layers"), keys.integer("no_rope_layer_interval", 4)
    knows = keys.numbers("no_rope_layers") or tuple((index + 1) % every for index in range(layers))
    window = optional_window(keys) if keys.flag("use_sliding_window") else 0
    window_sizes = windows(keys, tuple(not known for known in knows), window)
    rope_tables = rope(keys, 2e6)
    pairs = zip(knows, window_sizes, strict=False)  # ModelConfig checks the number of layers
    return tuple(LayerKind(rope=rope_tables if known else None, window=size) for known, size in pairs)
