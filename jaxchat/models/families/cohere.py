"""Command R, Command R7B and Aya: attention and MLP run in parallel, on the same LayerNorm of the block's input.

Rotary embedding pairs neighbouring elements of a head. From Command R7B on, most layers have a sliding window. The
other layers have no positional embedding.
"""

from __future__ import annotations

from dataclasses import replace

from jaxchat.errors import ModelError
from jaxchat.models.config import LayerKind, ModelConfig
from jaxchat.models.families.common import kinds, rope, same_windows, sizes, windows
from jaxchat.models.hf_config import HFConfigReader

_DEFAULTS = dict(max_position_embeddings=8192, tie_word_embeddings=True)
_DEFAULTS_2 = _DEFAULTS | dict(sliding_window=4096)


def read(keys: HFConfigReader) -> ModelConfig:
    """Reads the configuration of `CohereForCausalLM`. Raises ModelError if a key is missing, wrong or not supported."""
    keys = keys.or_else(_DEFAULTS)
    if keys.flag("use_qk_norm"):
        raise ModelError("config.json: use_qk_norm is not supported")
    return _with_layers(keys, kinds(replace(rope(keys, 5e5), interleaved=True), same_windows(keys, 0)))


def read_2(keys: HFConfigReader) -> ModelConfig:
    """Reads the configuration of `Cohere2ForCausalLM`. Raises ModelError if a key is missing or wrong."""
    keys = keys.or_else(_DEFAULTS_2)
    every = keys.integer("sliding_window_pattern", 4)
    sliding = tuple((index + 1) % every != 0 for index in range(keys.integer("num_hidden_layers")))
    rope_tables = replace(rope(keys), interleaved=True)
    window_sizes = windows(keys, sliding, keys.integer("sliding_window"))
    layers = tuple(LayerKind(rope=rope_tables if window else None, window=window) for window in window_sizes)
    return _with_layers(keys, layers)


def _with_layers(keys: HFConfigReader, layers: tuple[LayerKind, ...]) -> ModelConfig:
    bias = keys.flag("attention_bias")
    settings = sizes(keys) | dict(norm_eps=keys.number("layer_norm_eps", 1e-5))
    return ModelConfig(
        **settings,
        kinds=layers,
        norm="layer",
        parallel=True,
        qkv_bias=bias,
        out_bias=bias,
        logit_scale=keys.number("logit_scale", 0.0625),
    )
