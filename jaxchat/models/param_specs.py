"""The one table of a decoder's parameters. Layers, checkpoints, padding, packing, meshes and plans all read it.

Letters are those of `ModelConfig`, with G = H / K query heads for each KV head, and E experts.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeVar

import jax
from jax.nn import initializers

from jaxchat.models.config import Experts, ModelConfig

T = TypeVar("T")
ParamPath = tuple[str, ...]
"""The keys of a parameter in the nested dict, from the root."""
Init = Callable[..., jax.Array]
"""`init(key, shape, dtype)` draws a parameter for training."""
Padding = Literal["none", "vocab", "query_heads", "fused_heads"]
"""The axes that `parallel.padding` extends: none, the vocabulary axis, or the KV-head axis and the axis after it.

"query_heads" is for `[K, G, ..]`. "fused_heads" is for `[.., K, G + 2, d]`: the queries, the key and the value.
"""


@dataclass(frozen=True, kw_only=True)
class ParamSpec:
    """The properties of one parameter that follow from the `ModelConfig` alone."""

    shape: tuple[int, ...]
    axes: tuple[str | None, ...]  # logical names, which mesh rules map to devices; None is never split
    init: Init
    contracted: tuple[int, ...] = ()  # axes that a product sums over; none: it is never packed for products
    padding: Padding = "none"

    @property
    def size(self) -> int:
        """The number of elements of the parameter."""
        return math.prod(self.shape)

    @property
    def per_expert(self) -> bool:
        """Whether the parameter is a stack of matrices, one for each expert."""
        return bool(self.contracted) and self.axes[0] == "experts"

    @property
    def looked_up(self) -> bool:
        """Whether the parameter is a table that is only looked up. A step reads only the rows of its tokens."""
        return self.axes[0] == "vocab" and not self.contracted


Specs = dict[ParamPath, ParamSpec]
_LAYER = "layer_"  # with the index, begins the paths of a layer's parameters


def param_specs(config: ModelConfig) -> Specs:
    """Returns the spec of every parameter of the decoder, in the order of the forward pass."""
    outer = outer_specs(config)
    head = outer.pop(("head",), None)
    norm = outer.pop(("norm", "scale"))
    if config.per_layer_dim:
        outer |= _under("per_layer", per_layer_specs(config))
    for index, layer in enumerate(config.layers):
        outer |= _under(f"{_LAYER}{index}", layer_specs(layer))
    outer["norm", "scale"] = norm
    return outer | ({("head",): head} if head else {})


def layer_index(path: ParamPath) -> int | None:
    """Returns the index of the layer that a parameter belongs to, or None if the parameter is outside the layers."""
    return int(path[0].removeprefix(_LAYER)) if path[0].startswith(_LAYER) else None


def outer_specs(config: ModelConfig) -> Specs:
    """Returns the specs of the embedding and the last norm, and also of the head if embeddings are not tied."""
    c = config
    draw = initializers.normal(stddev=0.02)
    # A tied embedding is also a factor of the product that makes logits, with its outputs as the first axis.
    embed = ParamSpec(
        shape=(c.vocab_size, c.embed_dim),
        axes=("vocab", None),
        init=draw,
        contracted=(1,) if c.tie_embeddings else (),
        padding="vocab",
    )
    specs = {("embed",): embed} | _under("norm", norm_specs(c.embed_dim, c.norm_offset))
    if not c.tie_embeddings:
        specs["head",] = ParamSpec(
            shape=(c.embed_dim, c.vocab_size), axes=(None, "vocab"), init=draw, contracted=(0,), padding="vocab"
        )
    return specs


def layer_specs(config: ModelConfig) -> Specs:
    """Returns the specs of one layer. `config` is an entry of `ModelConfig.layers`."""
    c = config
    norm = norm_specs(c.embed_dim, c.norm_offset)
    experts = c.experts if c.kind.sparse else None
    specs = _under("attention_norm", norm) if c.pre_norms else {}
    specs |= _under("attention", attention_specs(c))
    specs |= _under("mlp_norm", norm) if c.pre_norms and not c.parallel else {}
    if experts and experts.beside_dense:
        specs |= _under("mlp", feed_forward_specs(c)) | _under("dense_post_norm", norm)
        specs |= _under("experts_norm", norm) | _under("experts", moe_specs(c, experts))
        specs |= _under("experts_post_norm", norm)
    else:
        specs |= _under("mlp", moe_specs(c, experts) if experts else feed_forward_specs(c))
    if c.post_norms:
        specs |= _under("attention_post_norm", norm) | _under("mlp_post_norm", norm)
    if c.per_layer_dim:
        specs |= _under("per_layer", per_layer_residual_specs(c)) | _under("per_layer_post_norm", norm)
    if c.layer_scalars:
        specs["scalar",] = ParamSpec(shape=(1,), axes=(None,), init=initializers.ones)
    return specs


def per_layer_specs(config: ModelConfig) -> Specs:
    """Returns the specs of `per_layer.PerLayerInputs`, which computes an input for each layer."""
    c = config
    embed = ParamSpec(
        shape=(c.vocab_size, c.num_layers * c.per_layer_dim),
        axes=("vocab", None),
        init=initializers.normal(stddev=0.02),
        padding="vocab",
    )
    projection = _matrix((c.embed_dim, c.num_layers, c.per_layer_dim), None, None, None)
    norm = norm_specs(c.per_layer_dim, c.norm_offset)
    return {("embed",): embed, ("projection",): projection} | _under("norm", norm)


def per_layer_residual_specs(config: ModelConfig) -> Specs:
    """Returns the specs of `per_layer.PerLayerResidual`, by which a layer's input changes the residual stream."""
    c = config
    return {
        ("gate",): _matrix((c.embed_dim, c.per_layer_dim), None, None),
        ("out",): _matrix((c.per_layer_dim, c.embed_dim), None, None),
    }


def norm_specs(width: int, offset: float) -> Specs:
    """Returns the specs of a norm over `width` numbers. The norm adds `offset` to its stored scales."""
    return {("scale",): ParamSpec(shape=(width,), axes=(None,), init=initializers.constant(1.0 - offset))}


def attention_specs(config: ModelConfig) -> Specs:
    """Returns the specs of an attention layer. `config` is an entry of `ModelConfig.layers`."""
    c, own_keys = config, config.kind.keys_of is None
    fused, heads = (c.num_kv_heads, c.group + 2, c.head_dim), (c.num_kv_heads, c.group, c.head_dim)
    specs: Specs = {
        ("qkv",) if own_keys else ("q",): ParamSpec(
            shape=(c.embed_dim, *(fused if own_keys else heads)),
            axes=(None, "kv_heads", None, None),
            init=_scaled(c.embed_dim),
            contracted=(0,),
            padding="fused_heads" if own_keys else "query_heads",
        ),
        ("out",): ParamSpec(
            shape=(*heads, c.embed_dim),
            axes=("kv_heads", None, None, None),
            init=_scaled(c.num_heads * c.head_dim),
            contracted=(0, 1, 2),
            padding="query_heads",
        ),
    }
    if c.qk_norm:
        queries, keys = (c.num_heads, c.num_kv_heads) if c.qk_norm_whole else (1, 1)
        specs |= _under("q_norm", norm_specs(queries * c.head_dim, c.norm_offset))
        if own_keys:
            specs |= _under("k_norm", norm_specs(keys * c.head_dim, c.norm_offset))
    if c.qkv_bias:
        specs["qkv_bias",] = _bias(fused, "kv_heads", None, None, padding="fused_heads")
    if c.out_bias:
        specs["out_bias",] = _bias((c.embed_dim,), None)
    if c.sinks:
        specs["sinks",] = ParamSpec(
            shape=heads[:2], axes=("kv_heads", None), init=initializers.normal(), padding="query_heads"
        )
    return specs


def feed_forward_specs(config: ModelConfig) -> Specs:
    """Returns the specs of a gated feed-forward layer."""
    c = config
    specs: Specs = {
        ("gate_up",): _matrix((c.embed_dim, 2, c.mlp_dim), None, None, "ffn"),
        ("down",): _matrix((c.mlp_dim, c.embed_dim), "ffn", None),
    }
    if c.mlp_bias:
        specs["gate_up_bias",] = _bias((2, c.mlp_dim), None, "ffn")
        specs["down_bias",] = _bias((c.embed_dim,), None)
    return specs


def shared_config(config: ModelConfig, experts: Experts) -> ModelConfig:
    """Returns the configuration of the shared expert, a feed-forward layer that every token passes through."""
    return replace(config, mlp_dim=experts.shared_dim, mlp_bias=False)


def moe_specs(config: ModelConfig, experts: Experts) -> Specs:
    """Returns the specs of a mixture of experts. The router's matrix is never packed, because it is small."""
    width, e = config.embed_dim, experts
    specs: Specs = {
        ("router",): ParamSpec(shape=(width, e.count), axes=(None, None), init=_scaled(width)),
        ("expert_gate_up",): ParamSpec(
            shape=(e.count, width, 2, e.mlp_dim),
            axes=("experts", None, None, "expert_ffn"),
            init=_scaled(width),
            contracted=(1,),
        ),
        ("expert_down",): ParamSpec(
            shape=(e.count, e.mlp_dim, width),
            axes=("experts", "expert_ffn", None),
            init=_scaled(e.mlp_dim),
            contracted=(1,),
        ),
    }
    if e.bias:
        specs["router_bias",] = _bias((e.count,), None)
        specs["expert_gate_up_bias",] = _bias((e.count, 2, e.mlp_dim), "experts", None, "expert_ffn")
        specs["expert_down_bias",] = _bias((e.count, width), None, None)
    if e.router_norm:
        specs["router_scale",] = ParamSpec(shape=(width,), axes=(None,), init=initializers.ones)
    if e.scaled:
        specs["expert_scale",] = ParamSpec(shape=(e.count,), axes=(None,), init=initializers.ones)
    if e.shared_dim:
        specs |= _under("shared", feed_forward_specs(shared_config(config, e)))
        specs["shared_gate",] = ParamSpec(shape=(width, 1), axes=(None, None), init=_scaled(width))
    return specs


def param_tree(specs: Specs, value: Callable[[ParamPath, ParamSpec], T]) -> dict[str, Any]:
    """Returns the nested dict that the decoder takes, with `value(path, spec)` for each parameter."""
    tree: dict[str, Any] = {}
    for path, spec in specs.items():
        insert(tree, path, value(path, spec))
    return tree


def insert(tree: dict[str, Any], path: ParamPath, value: Any) -> None:
    """Puts `value` at `path` in the nested dict `tree`, in place."""
    for key in path[:-1]:
        tree = tree.setdefault(key, {})
    tree[path[-1]] = value


def param_at(tree: Mapping[str, Any], path: ParamPath) -> Any:
    """Returns the parameter at `path` in the nested dict `tree`. Raises KeyError if there is none."""
    node: Any = tree
    for key in path:
        node = node[key]
    return node


def param_count(config: ModelConfig) -> int:
    """Returns the number of weights of a model. A tied embedding counts once."""
    return sum(spec.size for spec in param_specs(config).values())


def _under(name: str, specs: Specs) -> Specs:
    return {(name, *path): spec for path, spec in specs.items()}


def _matrix(shape: tuple[int, ...], *axes: str | None) -> ParamSpec:
    """Returns the spec of a weight that is contracted over its first axis."""
    return ParamSpec(shape=shape, axes=axes, init=_scaled(shape[0]), contracted=(0,))


def _bias(shape: tuple[int, ...], *axes: str | None, padding: Padding = "none") -> ParamSpec:
    return ParamSpec(shape=shape, axes=axes, init=initializers.zeros, padding=padding)


def _scaled(fan_in: int) -> Init:
    """Returns the initialiser of a matrix with `fan_in` inputs."""
    init: Init = initializers.normal(stddev=fan_in**-0.5)
    return init
