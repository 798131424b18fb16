"""The shape of a decoder. `jaxchat.models.families` reads it from a checkpoint's `config.json`."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

from jaxchat.errors import ModelError
from jaxchat.models.rope import RopeConfig

Activation = Literal["silu", "gelu_tanh"]
NormKind = Literal["rms", "layer"]
Stacking = Literal["alternating", "in_out", "out_in"]
"""The layout of a stored tensor that holds the matrices of all E experts.

"in_out" is `[E, in, out]` and "out_in" is `[E, out, in]`; in both, the outputs of the gate precede those of up.
"alternating" is `[E, in, out]`, in which gate and up outputs alternate.
"""
_SIZES = ("num_heads", "num_kv_heads", "head_dim", "mlp_dim")  # of a model, and of a layer that differs from it


@dataclass(frozen=True, kw_only=True)
class LayerKind:
    """The properties in which the layers of one model may differ."""

    rope: RopeConfig | None = RopeConfig()  # None: a layer without positions
    window: int = 0  # number of keys that a query sees, including its own; 0: all before it
    sparse: bool = False  # experts replace the feed-forward layer, or stand beside it, see `Experts.beside_dense`
    num_heads: int | None = None  # H; None, here and below: that of the model
    num_kv_heads: int | None = None  # K
    head_dim: int | None = None  # d
    mlp_dim: int | None = None  # F
    keys_of: int | None = None  # the earlier layer whose keys and values it attends to; None: its own
    tied_values: bool = False  # one stored matrix projects to keys and to values


@dataclass(frozen=True, kw_only=True)
class Clamp:
    """The constants of the bounded SwiGLU of gpt-oss (arXiv 2508.10925).

    The function is `gate * sigmoid(alpha * gate) * (up + 1)`, with `gate` cut off above `limit` and `up` clamped to
    -limit .. limit.
    """

    alpha: float  # the slope of the sigmoid
    limit: float


@dataclass(frozen=True, kw_only=True)
class Experts:
    """A mixture of experts: each token passes through `top_k` of `count` feed-forward layers.

    The experts have the hidden dimension `mlp_dim`. The constructor raises ModelError if `top_k` is more than `count`.
    """

    count: int  # E
    top_k: int
    mlp_dim: int
    shared_dim: int = 0  # hidden dimension of a further layer that every token passes, scaled by a gate; 0: none
    normalized: bool = True  # the weights of the top_k experts sum to one
    bias: bool = False  # of the router and of each expert
    clamp: Clamp | None = None  # the gate of gpt-oss, which replaces `activation`
    beside_dense: bool = False  # every token passes a feed-forward layer too; the outputs of both are normalised
    router_norm: bool = False  # the router has a separate norm, and reads the residual stream
    scaled: bool = False  # the weight of each expert is multiplied by a learned scale

    def __post_init__(self) -> None:
        if self.top_k > self.count:
            raise ModelError(f"config.json: {self.top_k} experts for each token are more than {self.count}")


@dataclass(frozen=True, kw_only=True)
class Names:
    """The names of a family's stored tensors; by default those of Llama."""

    prefixes: tuple[str, ...] = (
        "model.",
    )  # of all tensors except the head; the first prefix that the checkpoint contains
    mlp_norm: str = "post_attention_layernorm"
    post_norms: tuple[str, str] = ("post_attention_layernorm", "post_feedforward_layernorm")
    qk_norms: tuple[str, str] = ("q_norm", "k_norm")
    fused_qkv: bool = False  # qkv_proj contains what other families store as q_proj, k_proj and v_proj
    fused_gate_up: bool = False  # gate_up_proj contains gate_proj and up_proj
    router: str = "mlp.gate"
    experts: str = "mlp.experts"
    expert: tuple[str, str, str] = ("gate_proj", "up_proj", "down_proj")
    stacking: Stacking | None = None  # None: each expert has separate tensors, those of `expert`
    stacked: tuple[str, str] = ("gate_up_proj", "down_proj")  # one tensor for all experts
    ignored: tuple[str, ...] = ()  # prefixes of tensors that the decoder does not use
    others: tuple[Names, ...] = ()  # further ways in which checkpoints of the family are stored


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """The sizes and variants of a decoder with norms, grouped-query attention and gated feed-forward layers.

    Letters: V vocabulary, L layers, H query heads, K KV heads, D embedding dimension, F feed-forward dimension, d head
    dimension. The constructor raises ModelError if a size is below 1, or a setting does not fit the others.
    """

    vocab_size: int  # V
    num_layers: int  # L
    num_heads: int  # H
    num_kv_heads: int  # K
    embed_dim: int  # D
    mlp_dim: int  # F
    head_dim: int  # d
    max_seq_len: int
    kinds: tuple[LayerKind, ...] = ()  # one for each layer; by default `LayerKind()` for all
    norm: NormKind = "rms"
    norm_eps: float = 1e-6
    norm_offset: float = 0.0  # added to the scales of norms
    qk_norm: bool = False  # queries and keys are normalised over the head dimension
    qk_norm_whole: bool = False  # they are normalised over all heads together instead
    qk_norm_last: bool = False  # they are normalised after rotation instead of before
    v_norm: bool = False  # values are normalised over the head dimension, without a scale
    parallel: bool = False  # attention and MLP both read the same norm of the block's input
    pre_norms: bool = True  # the inputs of attention and of the MLP are normalised
    post_norms: bool = False  # the outputs that a block adds to the residual stream are normalised
    qkv_bias: bool = False
    out_bias: bool = False
    mlp_bias: bool = False
    activation: Activation = "silu"
    experts: Experts | None = None
    embed_scale: float = 1.0
    round_embed_scale: bool = False  # to the dtype of the weights
    residual_scale: float = 1.0  # of the outputs that a block adds to the residual stream
    layer_scalars: bool = False  # each block multiplies the residual stream by a stored number
    per_layer_dim: int = 0  # P, dimension of the input that each layer has beside the stream, see `models.per_layer`
    logit_scale: float = 1.0
    query_scale: float | None = None  # of attention scores; None: d**-0.5
    sinks: bool = False  # each head has the score of a key without value, see `kernels.attention.spec`
    attn_logit_softcap: float = 0.0  # see `kernels.attention.spec`
    final_logit_softcap: float = 0.0  # likewise, of logits
    tie_embeddings: bool = False
    names: Names = Names()

    def __post_init__(self) -> None:
        if not self.kinds:
            object.__setattr__(self, "kinds", (LayerKind(),) * self.num_layers)
        for name in (
            "vocab_size",
            "num_layers",
            "num_heads",
            "num_kv_heads",
            "embed_dim",
            "mlp_dim",
            "head_dim",
            "max_seq_len",
        ):
            if getattr(self, name) < 1:
                raise ModelError(f"config.json: {name} must be at least 1, got {getattr(self, name)}")
        if len(self.kinds) != self.num_layers:
            raise ModelError(f"config.json: {len(self.kinds)} layers are described, but there are {self.num_layers}")
        for kind in set(self.kinds):
            self._check_layer(kind)

    @property
    def group(self) -> int:
        """The number of query heads for each KV head."""
        return self.num_heads // self.num_kv_heads

    @cached_property
    def layers(self) -> tuple[ModelConfig, ...]:
        """One configuration for each layer. Each describes a model with that layer only, and has the layer's sizes."""

        def alone(kind: LayerKind) -> ModelConfig:
            sizes = {name: getattr(kind, name) for name in _SIZES if getattr(kind, name) is not None}
            plain = replace(kind, num_heads=None, num_kv_heads=None, head_dim=None, mlp_dim=None)
            return replace(self, num_layers=1, kinds=(plain,), **sizes)

        of_kind = {kind: alone(kind) for kind in dict.fromkeys(self.kinds)}
        return tuple(of_kind[kind] for kind in self.kinds)

    @property
    def kind(self) -> LayerKind:
        """The kind of the layer in a configuration with one layer, such as an entry of `layers`.

        Raises:
            ValueError: there are several layers.
        """
        (kind,) = self.kinds
        return kind

    def for_max_seq_len(self, context: int) -> ModelConfig:
        """Returns the configuration for an engine whose sequences have at most `context` tokens.

        Chooses between the two sets of frequencies of LongRoPE. A sequence must keep one set while it grows, because
        its keys are cached. All sequences therefore use the set that a sequence of `context` tokens needs.
        """

        def select_factors(kind: LayerKind) -> LayerKind:
            rope = kind.rope
            if rope is None or rope.kind != "longrope":
                return kind
            return replace(kind, rope=replace(rope, long=context > rope.original_context))

        return replace(self, kinds=tuple(map(select_factors, self.kinds)))

    def _check_layer(self, kind: LayerKind) -> None:
        heads, kv_heads = kind.num_heads or self.num_heads, kind.num_kv_heads or self.num_kv_heads
        if heads % kv_heads:
            raise ModelError(f"config.json: {heads} query heads are not a multiple of {kv_heads} KV heads")
        if kind.rope:
            _check_rope(kind.rope, kind.head_dim or self.head_dim)


def _check_rope(rope: RopeConfig, head_dim: int) -> None:
    rotated = rope.rotated(head_dim)
    if rotated % 2 or rotated < 2:
        raise ModelError(f"config.json: an even number of each head must be rotated, got {rotated}")
    if rope.kind == "longrope":
        for name, factors in (("short_factor", rope.short_factors), ("long_factor", rope.long_factors)):
            if len(factors) != rotated // 2 or min(factors) <= 0:
                raise ModelError(f"config.json: {name} must be {rotated // 2} numbers above 0, got {factors}")
