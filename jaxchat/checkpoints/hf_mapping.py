"""Maps Hugging Face tensors to the parameters of `jaxchat.models.param_specs`."""

from __future__ import annotations

from collections.abc import Callable

from jaxchat.checkpoints.tensor_reader import HEADS
from jaxchat.checkpoints.tensor_slices import (
    Slices,
    entries,
    joined_matrices,
    joined_rows,
    joined_vectors,
    matrix,
    stacked,
    whole,
)
from jaxchat.models.config import ModelConfig, Names
from jaxchat.models.param_specs import ParamPath, ParamSpec, layer_index, param_specs

_UNUSED_ENDS = ("rotary_emb.inv_freq", ".k_scale", ".v_scale", ".kv_scale")
"""Ends of the names of two kinds of tensors: frequencies, which `config.json` decides, and scales of 8-bit caches."""
_UNUSED_STARTS = ("v_head.", "value_head.")  # heads that reinforcement learning leaves beside the model's own
Source = Callable[[ModelConfig, ParamSpec, str], Slices]
"""`source(config, spec, prefix)` returns the stored tensors of one parameter; `prefix` begins their names."""


def stored_slices(config: ModelConfig, prefix: str = "model.", head: str = "lm_head.weight") -> dict[ParamPath, Slices]:
    """Returns the slices of stored tensors that fill each parameter, in the order of the forward pass.

    Args:
        config: the configuration of the decoder.
        prefix: the text at the beginning of every stored name except the name of the head.
        head: the stored name of the head.
    """
    specs = param_specs(config)
    stored = {path: _slices(config, path, spec, prefix) for path, spec in specs.items() if path != ("head",)}
    return stored if config.tie_embeddings else stored | {("head",): matrix(head, specs["head",].shape, 1)}


def unused(config: ModelConfig, name: str) -> bool:
    """Returns whether the stored tensor `name` belongs to no parameter and may be ignored."""
    tied_head = config.tie_embeddings and name in HEADS
    return (
        tied_head
        or name.endswith(_UNUSED_ENDS)
        or name.startswith((*_UNUSED_STARTS, *config.names.ignored))
        or name.partition("layers.")[2] in _keys_of_other_layers(config)
    )


def _keys_of_other_layers(config: ModelConfig) -> set[str]:
    """Returns the names of key and value tensors in layers that use the keys of earlier layers.

    The names begin after `layers.`, for example `3.self_attn.k_proj.weight`.
    """
    names = [f"{part}_{kind}.weight" for part in "kv" for kind in ("proj", "norm")]
    layers = [index for index, kind in enumerate(config.kinds) if kind.keys_of is not None]
    return {f"{index}.self_attn.{name}" for index in layers for name in names}


def _slices(config: ModelConfig, path: ParamPath, spec: ParamSpec, prefix: str) -> Slices:
    index = layer_index(path)
    if index is None:
        return _OUTER[".".join(path)](config, spec, prefix)
    return _LAYER[".".join(path[1:])](config.layers[index], spec, f"{prefix}layers.{index}.")


def _named(name: str) -> Source:
    """Returns the source of a parameter that is stored as one tensor of the same shape."""
    return lambda config, spec, prefix: whole(f"{prefix}{name}", spec.shape)


def _linear(name: str) -> Source:
    """Returns the source of a parameter that is stored as one matrix `[out, in]`."""
    return lambda config, spec, prefix: matrix(f"{prefix}{name}", spec.shape, len(spec.contracted))


def _linear_of(name: str, inputs: int) -> Source:
    """Returns the source of a parameter with `inputs` input axes that is stored as one matrix `[out, in]`.

    Parameters that are never packed need this function, because their specs do not say which axes are inputs.
    """
    return lambda config, spec, prefix: matrix(f"{prefix}{name}", spec.shape, inputs)


def _shared_gate_up(config: ModelConfig, spec: ParamSpec, prefix: str) -> Slices:
    names = [f"{prefix}mlp.shared_expert.{name}_proj.weight" for name in ("gate", "up")]
    return joined_matrices(names, spec.shape, 1, (1, 1))


def _norm(name: Callable[[Names], str]) -> Source:
    """Returns the source of the scales of a norm. `name` returns the norm's stored name from the family's names."""
    return lambda config, spec, prefix: whole(f"{prefix}{name(config.names)}.weight", spec.shape)


def _qkv(config: ModelConfig, spec: ParamSpec, prefix: str) -> Slices:
    at, counts = f"{prefix}self_attn.", (config.group, 1, 1)
    if config.names.fused_qkv:
        return joined_rows(f"{at}qkv_proj.weight", spec.shape, 2, counts)
    names = "qkk" if config.kind.tied_values else "qkv"
    return joined_matrices([f"{at}{name}_proj.weight" for name in names], spec.shape, 2, counts)


def _qkv_bias(config: ModelConfig, spec: ParamSpec, prefix: str) -> Slices:
    names = [f"{prefix}self_attn.{name}_proj.bias" for name in "qkv"]
    return joined_vectors(names, spec.shape, 1, (config.group, 1, 1))


def _sinks(config: ModelConfig, spec: ParamSpec, prefix: str) -> Slices:
    return joined_vectors([f"{prefix}self_attn.sinks"], spec.shape, 0, (config.num_kv_heads,))


def _gate_up(config: ModelConfig, spec: ParamSpec, prefix: str) -> Slices:
    if config.names.fused_gate_up:
        return joined_rows(f"{prefix}mlp.gate_up_proj.weight", spec.shape, 1, (1, 1))
    return joined_matrices([f"{prefix}mlp.{name}_proj.weight" for name in ("gate", "up")], spec.shape, 1, (1, 1))


def _gate_up_bias(config: ModelConfig, spec: ParamSpec, prefix: str) -> Slices:
    return joined_vectors([f"{prefix}mlp.{name}_proj.bias" for name in ("gate", "up")], spec.shape, 0, (1, 1))


def _router(config: ModelConfig, spec: ParamSpec, prefix: str) -> Slices:
    return matrix(f"{prefix}{config.names.router}.weight", spec.shape, 1)


def _router_bias(config: ModelConfig, spec: ParamSpec, prefix: str) -> Slices:
    return whole(f"{prefix}{config.names.router}.bias", spec.shape)


def _expert_gate_up(config: ModelConfig, spec: ParamSpec, prefix: str) -> Slices:
    at, names = f"{prefix}{config.names.experts}.", config.names.expert[:2]
    if stacking := config.names.stacking:
        name = f"{at}{config.names.stacked[0]}"
        return entries(name, spec.shape, alternating=stacking == "alternating", transposed=stacking == "out_in")
    each = [
        joined_matrices([f"{at}{index}.{name}.weight" for name in names], spec.shape[1:], 1, (1, 1))
        for index in range(spec.shape[0])
    ]
    return stacked(each)


def _expert_down(config: ModelConfig, spec: ParamSpec, prefix: str) -> Slices:
    at, name = f"{prefix}{config.names.experts}.", config.names.expert[2]
    if stacking := config.names.stacking:
        return entries(f"{at}{config.names.stacked[1]}", spec.shape, transposed=stacking == "out_in")
    return stacked([matrix(f"{at}{index}.{name}.weight", spec.shape[1:], 1) for index in range(spec.shape[0])])


def _expert_gate_up_bias(config: ModelConfig, spec: ParamSpec, prefix: str) -> Slices:
    return entries(f"{prefix}{config.names.experts}.gate_up_proj_bias", spec.shape, alternating=True)


def _expert_down_bias(config: ModelConfig, spec: ParamSpec, prefix: str) -> Slices:
    return whole(f"{prefix}{config.names.experts}.down_proj_bias", spec.shape)


_OUTER: dict[str, Source] = {
    "embed": _named("embed_tokens.weight"),
    "norm.scale": _named("norm.weight"),
    "per_layer.embed": _named("embed_tokens_per_layer.weight"),
    "per_layer.projection": _linear("per_layer_model_projection.weight"),
    "per_layer.norm.scale": _named("per_layer_projection_norm.weight"),
}
_LAYER: dict[str, Source] = {
    "attention_norm.scale": _named("input_layernorm.weight"),
    "attention.qkv": _qkv,
    "attention.q": _linear("self_attn.q_proj.weight"),
    "attention.qkv_bias": _qkv_bias,
    "attention.q_norm.scale": _norm(lambda names: f"self_attn.{names.qk_norms[0]}"),
    "attention.k_norm.scale": _norm(lambda names: f"self_attn.{names.qk_norms[1]}"),
    "attention.sinks": _sinks,
    "attention.out": _linear("self_attn.o_proj.weight"),
    "attention.out_bias": _named("self_attn.o_proj.bias"),
    "attention_post_norm.scale": _norm(lambda names: names.post_norms[0]),
    "mlp_norm.scale": _norm(lambda names: names.mlp_norm),
    "mlp.gate_up": _gate_up,
    "mlp.gate_up_bias": _gate_up_bias,
    "mlp.down": _linear("mlp.down_proj.weight"),
    "mlp.down_bias": _named("mlp.down_proj.bias"),
    "mlp.router": _router,
    "mlp.router_bias": _router_bias,
    "mlp.expert_gate_up": _expert_gate_up,
    "mlp.expert_gate_up_bias": _expert_gate_up_bias,
    "mlp.expert_down": _expert_down,
    "mlp.expert_down_bias": _expert_down_bias,
    "mlp.shared.gate_up": _shared_gate_up,
    "mlp.shared.down": _linear("mlp.shared_expert.down_proj.weight"),
    "mlp.shared_gate": _linear_of("mlp.shared_expert_gate.weight", 1),
    "mlp_post_norm.scale": _norm(lambda names: names.post_norms[1]),
    "dense_post_norm.scale": _named("post_feedforward_layernorm_1.weight"),
    "experts_norm.scale": _named("pre_feedforward_layernorm_2.weight"),
    "experts.router": _router,
    "experts.router_scale": _named("router.scale"),
    "experts.expert_scale": _named("router.per_expert_scale"),
    "experts.expert_gate_up": _expert_gate_up,
    "experts.expert_down": _expert_down,
    "experts_post_norm.scale": _named("post_feedforward_layernorm_2.weight"),
    "per_layer.gate": _linear("per_layer_input_gate.weight"),
    "per_layer.out": _linear("per_layer_projection.weight"),
    "per_layer_post_norm.scale": _named("post_per_layer_input_norm.weight"),
    "scalar": _named("layer_scalar"),
}
