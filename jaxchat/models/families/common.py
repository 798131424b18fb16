"""Readers of the configuration keys that mean the same in all families.

They raise ModelError, which names the key, for a value of the wrong type or out of range.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

from jaxchat.errors import ModelError
from jaxchat.models.config import Activation, LayerKind, Names
from jaxchat.models.hf_config import HFConfigReader
from jaxchat.models.rope import RopeConfig

KINDS = ("default", "linear", "dynamic", "llama3", "yarn", "longrope", "proportional")
KIND_ALIASES = {"su": "longrope", "dynamic": "default"}
"""Rope types that are read as another kind. Early Phi-3 checkpoints call longrope "su".

"dynamic" changes frequencies only beyond `max_position_embeddings`, which an engine's sequences cannot reach.
"""
LAYER_TYPES = ("full_attention", "sliding_attention")
ACTIVATIONS: dict[str, Activation] = {
    "silu": "silu",
    "swish": "silu",
    "gelu_pytorch_tanh": "gelu_tanh",
}


def sizes(keys: HFConfigReader) -> dict[str, Any]:
    """Returns the arguments of `ModelConfig` that every family reads from the same keys.

    Absent keys get the defaults of Llama. A family with other defaults passes `keys.or_else(...)`. Raises ModelError if
    a key is missing or wrong.
    """
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
    """Returns the activation that `key` names, or the activation `default` if the key is absent.

    Raises:
        ModelError: the activation is not supported.
    """
    name = keys.word(key, default)
    if name not in ACTIVATIONS:
        raise keys.error(key, f"is not supported; supported: {', '.join(ACTIVATIONS)}")
    return ACTIVATIONS[name]


def rope(keys: HFConfigReader, theta: float = 10000.0, *, partial: bool = False) -> RopeConfig:
    """Returns the rotary embedding that `rope_parameters` (transformers 5) or `rope_theta` and `rope_scaling` describe.

    Args:
        keys: the configuration.
        theta: the rotary base if the configuration has none.
        partial: whether the family may rotate only a part of each head.

    Raises:
        ModelError: a setting is wrong or not supported, or the settings contradict each other.
    """
    settings = _rope_settings(keys, theta)
    for kind in ("full_attention", "sliding_attention"):
        if settings.has(kind):
            raise settings.error(kind, "is not supported: all layers of this family share one rotary embedding")
    config = rope_of(settings, keys, keys.number("rope_theta", theta, positive=True))
    if config.fraction != 1 and not partial:
        raise ModelError("config.json: partial_rotary_factor is not supported for this family")
    return config


def _rope_settings(keys: HFConfigReader, theta: float) -> HFConfigReader:
    """Returns a reader of the rotary settings. As in `transformers`, `rope_scaling` replaces `rope_parameters`.

    Raises:
        ModelError: replacing would silently change the rotary base.
    """
    scaling, parameters = keys.inner("rope_scaling"), keys.inner("rope_parameters")
    if not len(scaling):
        return parameters
    actual = scaling.number("rope_theta", keys.number("rope_theta", theta, positive=True), positive=True)
    if parameters.number("rope_theta", actual, positive=True) != actual:
        raise parameters.error(
            "rope_theta", f"differs from the base {actual:g} of rope_scaling, which replaces rope_parameters; set both"
        )
    return scaling


def rope_of(settings: HFConfigReader, keys: HFConfigReader, theta: float) -> RopeConfig:
    """Returns the rotary embedding that an object in a configuration describes.

    Args:
        settings: the object with the rotary settings.
        keys: the configuration.
        theta: the rotary base if `settings` has none.

    Raises:
        ModelError: a setting is wrong, or the rope type is not supported.
    """
    kind = settings.word("rope_type", settings.word("type", "default"))
    kind = KIND_ALIASES.get(kind, kind)
    if kind not in KINDS:
        raise ModelError(f"config.json: rope type {kind!r} is not supported; supported: {', '.join(KINDS)}")
    context = keys.integer("max_position_embeddings", 2048)
    named = settings.integer("original_max_position_embeddings", context)
    original = keys.integer("original_max_position_embeddings", named)
    scaled = kind in ("yarn", "longrope")
    factor = settings.number("factor", context / original if scaled else 1.0, positive=True)
    return RopeConfig(
        theta=settings.number("rope_theta", theta, positive=True),
        fraction=settings.number("partial_rotary_factor", keys.number("partial_rotary_factor", 1.0)),
        kind=kind,
        factor=factor,
        original_context=original,
        low_freq_factor=settings.number("low_freq_factor", 1.0),
        high_freq_factor=settings.number("high_freq_factor", 4.0),
        beta_fast=settings.number("beta_fast", 0.0) or 32.0,
        beta_slow=settings.number("beta_slow", 0.0) or 1.0,
        attention_factor=_attention_factor(settings, kind, factor),
        truncate=settings.flag("truncate", True),
        short_factors=settings.numbers("short_factor"),
        long_factors=settings.numbers("long_factor"),
    )


def _attention_factor(settings: HFConfigReader, kind: str, factor: float) -> float | None:
    """Returns the factor that the settings give for cosine and sine, or None for the scaling method's default."""
    if settings.has("attention_factor"):
        return settings.number("attention_factor")
    scale, scale_all = settings.number("mscale", 0.0), settings.number("mscale_all_dim", 0.0)
    if kind != "yarn" or not scale or not scale_all or factor <= 1:
        return None
    return (0.1 * scale * math.log(factor) + 1) / (0.1 * scale_all * math.log(factor) + 1)


def rope_by_type(keys: HFConfigReader, full_theta: float, sliding_theta: float) -> tuple[RopeConfig, RopeConfig]:
    """Returns the rotary embeddings of layers without a window and of layers with a window.

    `rope_scaling` applies only to layers without a window.

    Args:
        keys: the configuration.
        full_theta: the rotary base of layers without a window if the configuration has none.
        sliding_theta: the rotary base of layers with a window if the configuration has none.

    Raises:
        ModelError: `rope_parameters` has settings outside `full_attention` and `sliding_attention`, or a setting is not
            supported.
    """
    settings, scaling = keys.inner("rope_parameters"), keys.inner("rope_scaling")
    for key in ("rope_type", "type", "rope_theta"):
        if settings.has(key):
            raise settings.error(key, "must be in full_attention or sliding_attention")
    full_settings = settings.inner("full_attention").replaced(scaling.values)
    full = rope_of(full_settings, keys, keys.number("rope_theta", full_theta, positive=True))
    sliding = rope_of(settings.inner("sliding_attention"), keys, sliding_theta)
    if (full.fraction, sliding.fraction) != (1, 1):
        raise ModelError("config.json: partial_rotary_factor is not supported for this family")
    return full, sliding


def windows(keys: HFConfigReader, default: tuple[bool, ...], window: int) -> tuple[int, ...]:
    """Returns the window of each layer in tokens; 0 means none.

    Args:
        keys: the configuration.
        default: whether each layer has a window if the configuration does not have `layer_types`.
        window: the size of every window, in tokens; 0 if the configuration has none.

    Raises:
        ModelError: `layer_types` has an unknown type, or has layers with a window although `window` is 0.
    """
    types = keys.words("layer_types")
    if not types:
        return tuple(window if sliding else 0 for sliding in default)
    if unknown := set(types) - set(LAYER_TYPES):
        raise ModelError(f"config.json: layer type {min(unknown)!r} is not supported")
    if LAYER_TYPES[1] in types and not window:
        raise ModelError(f"config.json: layer_types names {LAYER_TYPES[1]}, but sliding_window is off or missing")
    return tuple(window if kind == LAYER_TYPES[1] else 0 for kind in types)


def same_windows(keys: HFConfigReader, window: int) -> tuple[int, ...]:
    """Returns the window of each layer, for a family whose layers all have the same window.

    Args:
        keys: the configuration.
        window: the window of all layers, in tokens; 0 for none.

    Raises:
        ModelError: `layer_types` contradicts `window`. The family's reference implementation ignores `layer_types`.
    """
    layers = (window,) * keys.integer("num_hidden_layers")
    if keys.words("layer_types") and windows(keys, (), window or 1) != layers:
        raise ModelError(
            f"config.json: layer_types must be {LAYER_TYPES[bool(window)]} for every layer of this family, "
            f"whose sliding_window is {window or 'off'}"
        )
    return layers


def optional_window(keys: HFConfigReader) -> int:
    """Returns the value of `sliding_window`, in tokens, or 0 if the key is absent or null.

    Raises:
        ModelError: the value is not a positive integer.
    """
    return keys.integer("sliding_window") if keys.has("sliding_window") else 0


def kinds(rope: RopeConfig | None, windows: tuple[int, ...]) -> tuple[LayerKind, ...]:
    """Returns the kind of each layer, for layers that differ only in their windows.

    Args:
        rope: the rotary embedding of all layers; None for layers without positions.
        windows: the window of each layer in tokens; 0 for none.
    """
    return tuple(LayerKind(rope=rope, window=window) for window in windows)


def text_part(keys: HFConfigReader, *, tied: bool) -> HFConfigReader:
    """Returns the keys of the text part of a model that also reads images or sound.

    `tie_word_embeddings` is a key of the whole model, and `tied` is its default. Raises ModelError if the text part is
    not an object.
    """
    return keys.inner("text_config").replaced(dict(tie_word_embeddings=keys.flag("tie_word_embeddings", tied)))


def names_in_llava(names: Names, parts: tuple[str, ...] = ("vision_tower.", "multi_modal_projector.")) -> Names:
    """Returns the names of a text part in the layout of LLaVA, whose checkpoints also store other parts.

    Args:
        names: the names of the text part if it is stored alone.
        parts: prefixes of the tensors of the other parts, which are ignored.
    """
    return replace(
        names,
        prefixes=("language_model.model.", "model.language_model."),
        ignored=(*parts, *(f"model.{part}" for part in parts)),
    )
