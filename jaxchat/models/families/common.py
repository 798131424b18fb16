"""The configuration keys that mean the same in all families."""

from __future__ import annotations

from typing import Any

from jaxchat.errors import ModelError
from jaxchat.models.config import Activation, LayerKind
from jaxchat.models.hf_config import HFConfigReader
from jaxchat.models.rope import RopeConfig

KINDS = ("default", "linear", "llama3", "yarn", "longrope")
ACTIVATIONS: dict[str, Activation] = {
    "silu": "silu",
    "gelu_pytorch_tanh": "gelu_tanh",
}


def sizes(keys: HFConfigReader) -> dict[str, Any]:
    """Returns the arguments of `ModelConfig` that every family reads from the same keys."""
    heads, width = keys.integer("num_attention_heads"), keys.integer("hidden_size")
    return dict(
        vocab_size=keys.integer("vocab_size"),
        num_layers=keys.integer("num_hidden_layers"),
        num_heads=heads,
        num_kv_heads=keys.integer("num_key_value_heads", heads),
        embed_dim=width,
        mlp_dim=keys.integer("intermediate_size"),
        head_dim=keys.integer("head_dim", width // heads),
        max_seq_len=keys.integer("max_position_embeddings", 2048),
        norm_eps=keys.number("rms_norm_eps", 1e-6),
        activation=activation(keys, "hidden_act", "silu"),
        tie_embeddings=keys.flag("tie_word_embeddings"),
    )


def activation(keys: HFConfigReader, key: str, default: str) -> Activation:
    """Returns the activation that `key` names. Raises ModelError if it is not supported."""
    name = keys.word(key, default)
    if name not in ACTIVATIONS:
        raise keys.error(key, f"is not supported; supported: {', '.join(ACTIVATIONS)}")
    return ACTIVATIONS[name]


def rope(keys: HFConfigReader, theta: float = 10000.0) -> RopeConfig:
    """Reads `rope_parameters` (transformers 5) or `rope_theta` with `rope_scaling` (earlier)."""
    settings = keys.inner("rope_parameters" if keys.has("rope_parameters") else "rope_scaling")
    return rope_of(settings, keys, keys.number("rope_theta", theta, positive=True))


def rope_of(settings: HFConfigReader, keys: HFConfigReader, theta: float) -> RopeConfig:
    """Returns the rotary embedding that the object `settings` of a configuration describes. Raises ModelError."""
    kind = settings.word("rope_type", settings.word("type", "default"))
    kind = "longrope" if kind == "su" else kind  # the name in early Phi-3 checkpoints
    if kind not in KINDS:
        raise ModelError(f"config.json: rope type {kind!r} is not supported; supported: {', '.join(KINDS)}")
    if kind == "yarn" and settings.has("mscale_all_dim"):
        raise ModelError("config.json: rope mscale_all_dim is not supported")
    context = keys.integer("max_position_embeddings", 8192)
    named = settings.integer("original_max_position_embeddings", context)
    original = keys.integer("original_max_position_embeddings", named)
    scaled = kind in ("yarn", "longrope")
    return RopeConfig(
        theta=settings.number("rope_theta", theta, positive=True),
        fraction=settings.number("partial_rotary_factor", keys.number("partial_rotary_factor", 1.0)),
        kind=kind,
        factor=settings.number("factor", context / original if scaled else 1.0, positive=True),
        original_context=original,
        low_freq_factor=settings.number("low_freq_factor", 1.0),
        high_freq_factor=settings.number("high_freq_factor", 4.0),
        beta_fast=settings.number("beta_fast", 32.0),
        beta_slow=settings.number("beta_slow", 1.0),
        attention_factor=settings.number("attention_factor") if settings.has("attention_factor") else None,
        truncate=settings.flag("truncate", True),
        short_factors=settings.numbers("short_factor"),
        long_factors=settings.numbers("long_factor"),
    )


def windows(keys: HFConfigReader, default: tuple[bool, ...], window: int) -> tuple[int, ...]:
    """Returns the window of each layer, 0 for none: by `layer_types`, otherwise by `default`."""
    types = keys.words("layer_types")
    if not types:
        return tuple(window if sliding else 0 for sliding in default)
    if unknown := set(types) - {"full_attention", "sliding_attention"}:
        raise ModelError(f"config.json: layer type {min(unknown)!r} is not supported")
    return tuple(window if kind == "sliding_attention" else 0 for kind in types)


def kinds(rope: RopeConfig | None, windows: tuple[int, ...]) -> tuple[LayerKind, ...]:
    """Returns layers that differ only in their window."""
    return tuple(LayerKind(rope=rope, window=window) for window in windows)
