"""Gemma 4: two sizes of heads, keys shared between layers, per-layer embeddings, experts beside a dense layer.

As in Gemma 3, most layers have a sliding window. The other layers have larger heads. In large models these layers also
have fewer KV heads, and one matrix makes both keys and values. In small models the last layers use the keys and values
of earlier layers.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from jaxchat.models.config import Experts, LayerKind, ModelConfig, Names
from jaxchat.models.families.common import (
    activation,
    names_in_llava,
    optional_window,
    rope_of,
    sizes,
    text_part,
    windows,
)
from jaxchat.models.hf_config import HFConfigReader
from jaxchat.models.rope import RopeConfig

_NAMES = Names(mlp_norm="pre_feedforward_layernorm", router="router.proj", experts="experts", stacking="out_in")
_OTHER_PARTS = ("vision_tower.", "embed_vision.", "audio_tower.", "embed_audio.")
_DEFAULTS = dict(
    vocab_size=262_144,
    hidden_size=2304,
    intermediate_size=9216,
    num_hidden_layers=30,
    num_attention_heads=8,
    num_key_value_heads=4,
    head_dim=256,
    max_position_embeddings=131_072,
    tie_word_embeddings=True,
    sliding_window=512,
    global_head_dim=512,
    hidden_size_per_layer_input=256,
    vocab_size_per_layer_input=262_144,
)
_ROPE = dict(
    sliding_attention=dict(rope_type="default", rope_theta=1e4),
    full_attention=dict(rope_type="proportional", rope_theta=1e6, partial_rotary_factor=0.25),
)


def read(keys: HFConfigReader, names: Names = _NAMES) -> ModelConfig:
    """Reads the configuration of `Gemma4ForCausalLM`. Raises ModelError if a key is missing, wrong or not supported."""
    keys = keys.or_else(_DEFAULTS)
    _check_supported(keys)
    settings = sizes(keys) | dict(activation=activation(keys, "hidden_activation", "gelu_pytorch_tanh"))
    return ModelConfig(
        **settings,
        kinds=_kinds(keys),
        qk_norm=True,
        v_norm=True,
        post_norms=True,
        query_scale=1.0,
        embed_scale=math.sqrt(settings["embed_dim"]),
        round_embed_scale=True,
        layer_scalars=True,
        per_layer_dim=keys.integer("hidden_size_per_layer_input", least=0),
        experts=_experts(keys) if keys.flag("enable_moe_block") else None,
        final_logit_softcap=keys.number("final_logit_softcapping", 0.0),
        names=names,
    )


def read_text(keys: HFConfigReader) -> ModelConfig:
    """Reads the text part of `Gemma4ForConditionalGeneration` and ignores its image and audio parts.

    Raises ModelError if a key is missing or wrong.
    """
    return read(text_part(keys, tied=True), names_in_llava(_NAMES, _OTHER_PARTS))


def _check_supported(keys: HFConfigReader) -> None:
    """Raises ModelError for settings that the decoder would compute wrongly."""
    if keys.flag("attention_bias"):
        raise keys.error("attention_bias", "must be false: biases are not supported for this family")
    if keys.word("use_bidirectional_attention", "vision") != "vision":
        raise keys.error("use_bidirectional_attention", "must be null or 'vision', which leaves text causal")
    if keys.integer("hidden_size_per_layer_input", least=0):
        vocab_size = keys.integer("vocab_size")
        if keys.integer("vocab_size_per_layer_input") != vocab_size:
            raise keys.error("vocab_size_per_layer_input", f"must be vocab_size, {vocab_size}")


def _experts(keys: HFConfigReader) -> Experts:
    return Experts(
        count=keys.integer("num_experts"),
        top_k=keys.integer("top_k_experts"),
        mlp_dim=keys.integer("moe_intermediate_size"),
        beside_dense=True,
        router_norm=True,
        scaled=True,
    )


@dataclass(frozen=True)
class _Heads:
    """The sizes of the heads of one layer. None means the size that the whole model has."""

    num_kv_heads: int | None = None
    head_dim: int | None = None


def _kinds(keys: HFConfigReader) -> tuple[LayerKind, ...]:
    layers = keys.integer("num_hidden_layers")
    sliding = tuple((index + 1) % 6 != 0 for index in range(layers))
    *all_but_last, _ = windows(keys, sliding, optional_window(keys))
    window_sizes = (*all_but_last, 0)  # `transformers` forces the last layer to see everything
    ropes, heads, sources = _ropes(keys), _heads(keys, window_sizes), _key_sources(keys, window_sizes)
    tied, double = keys.flag("attention_k_eq_v"), keys.flag("use_double_wide_mlp")
    kinds = []
    for index, window in enumerate(window_sizes):
        source = sources[index]
        if source is not None and heads[source] != heads[index]:
            raise keys.error(
                "per_layer_config", f"must give layer {index} the heads of layer {source}, whose keys it uses"
            )
        kinds.append(
            LayerKind(
                rope=ropes[bool(window)],
                window=window,
                sparse=keys.flag("enable_moe_block"),
                num_kv_heads=heads[index].num_kv_heads,
                head_dim=heads[index].head_dim,
                mlp_dim=2 * keys.integer("intermediate_size") if double and source is not None else None,
                keys_of=source,
                tied_values=tied and not window,
            )
        )
    return tuple(kinds)


def _key_sources(keys: HFConfigReader, window_sizes: tuple[int, ...]) -> list[int | None]:
    """Returns, for each layer, the index of the earlier layer whose keys and values it uses, or None for its own.

    The last `num_kv_shared_layers` layers compute no keys and values. Each of them uses the keys and values of another
    layer. This is the last layer with the same window among all layers that compute keys and values.

    Raises:
        ModelError: no layer that computes keys and values has the same window.
    """
    count = keys.integer("num_kv_shared_layers", 0, least=0)
    first = len(window_sizes) - count
    last = {window: index for index, window in enumerate(window_sizes[: max(first, 0)])}
    if missing := {*window_sizes[max(first, 0) :]} - {*last}:
        kind = "sliding_attention" if min(missing) else "full_attention"
        raise keys.error("num_kv_shared_layers", f"must leave a layer of type {kind} with its own keys")
    return [None if index < first else last[window] for index, window in enumerate(window_sizes)]


def _heads(keys: HFConfigReader, window_sizes: tuple[int, ...]) -> list[_Heads]:
    """Returns the heads of each layer, by `per_layer_config` if present and otherwise by the "global" keys.

    Raises:
        ModelError: `per_layer_config` is not an object, or names an unknown layer or setting.
    """
    if "per_layer_config" in keys.values:
        if not keys.has("per_layer_config"):
            raise keys.error("per_layer_config", "must be an object")
        return _heads_by_layer(keys.inner("per_layer_config"), len(window_sizes))
    own_kv_heads = keys.flag("attention_k_eq_v") and keys.has("num_global_key_value_heads")
    full = _Heads(
        num_kv_heads=keys.integer("num_global_key_value_heads") if own_kv_heads else None,
        head_dim=keys.integer("global_head_dim"),
    )
    return [_Heads() if window else full for window in window_sizes]


def _heads_by_layer(layers: HFConfigReader, count: int) -> list[_Heads]:
    """Returns the heads of each of `count` layers. `layers` maps indices to settings.

    Raises:
        ModelError: an index or a setting is unknown.
    """
    heads = [_Heads()] * count
    for index in layers.values:
        layer = layers.inner(index)
        if not index.isdecimal() or int(index) >= count:
            raise layers.error(index, f"must be named by a layer from 0 to {count - 1}")
        if unknown := layer.values.keys() - {"head_dim", "num_key_value_heads"}:
            raise layer.error(min(unknown), "is not supported for single layers")
        given = {name: layer.integer(name) for name in layer.values if layer.has(name)}
        heads[int(index)] = _Heads(given.get("num_key_value_heads"), given.get("head_dim"))
    return heads


def _ropes(keys: HFConfigReader) -> dict[bool, RopeConfig]:
    """Returns the rotary embedding of layers with a window (True) and without one (False).

    Raises:
        ModelError: the settings for one kind of layer are missing or not supported.
    """
    settings = keys.inner("rope_parameters") if keys.has("rope_parameters") else HFConfigReader(_ROPE)
    ropes = {}
    for window, name in ((True, "sliding_attention"), (False, "full_attention")):
        if not settings.has(name):
            raise settings.error(name, "must be an object")
        inner = settings.inner(name)
        ropes[window] = rope_of(inner, keys, inner.number("rope_theta", positive=True))
        if ropes[window].fraction != 1 and ropes[window].kind != "proportional":
            raise inner.error("partial_rotary_factor", "needs rope_type proportional")
    return ropes
