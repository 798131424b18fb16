"""The layers of the decoder. Weights are stored as [in, out]. Weights that multiply the same input are fused into one.

The fused query-key-value matrix is grouped by KV head, `[D, K, G + 2, d]` with G = H / K: G query heads, then the key,
then the value. If it is split over K, each device has whole KV heads with their query heads.

Letters are those of `ModelConfig`. T is the number of tokens.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import Array

from jaxchat.kernels.attention.spec import AttentionSpec
from jaxchat.kernels.matmul import native, packed
from jaxchat.kernels.matmul.packed import PackedWeight
from jaxchat.models.config import Activation, Clamp, ModelConfig, NormKind
from jaxchat.models.param_specs import Specs, attention_specs, feed_forward_specs, norm_specs
from jaxchat.models.rope import RopeTables, rotate
from jaxchat.models.sharding import TensorParallel

Attend = Callable[[int, Array, Array, Array, AttentionSpec], Array]
"""`attend(layer, q[T, H, d], k[T, K, d], v[T, K, d], spec) -> [T, H, d]`, f32 or bf16.

The decoder's caller owns the KV cache. `layer` is the index of the layer whose keys and values the queries attend to. A
layer that reuses the keys and values of an earlier layer passes the earlier layer's index, `k` and `v`. The cache has
these already.
"""
Weight = Array | PackedWeight


def matmul(equation: str, x: Array, w: Weight, reduce_dtype: str = "float32") -> Array:
    """Multiplies activations by weights. Accumulates in f32, or exactly in integers, and returns f32.

    In the result, the axes of x that are not contracted precede those of w. If `w` is packed, all axes of `x` after the
    first are contracted, and the argument `equation` has no effect.

    The product requests an f32 result, because XLA:CPU would otherwise widen bf16 weights to f32 first (8x slower).

    Args:
        equation: as for einsum; the axes that x and w have in common are contracted.
        x: activations `[T, ..]`, cast to the dtype of w unless w is packed.
        w: weights.
        reduce_dtype: the dtype to which each device rounds its partial sum, if the sum runs over devices; otherwise
            "float32". See `TensorParallel`.
    """
    if isinstance(w, PackedWeight):
        return packed.matmul(x.reshape(x.shape[0], -1), w, reduce_dtype)
    left, right = equation.partition("->")[0].split(",")
    summed = [letter for letter in left if letter in right]
    # einsum would contract in alphabetical order. A GPU transposes weights on every call if theirs is another order.
    axes = (tuple(map(left.index, summed)), tuple(map(right.index, summed))), ((), ())

    def multiply(x: Array, w: Array) -> Array:
        exact = jax.lax.Precision.HIGHEST if w.dtype == jnp.float32 else None
        return jax.lax.dot_general(x, w, axes, precision=exact, preferred_element_type=jnp.dtype(reduce_dtype))

    row_by_row = partial(native.by_rows, multiply)
    y: Array = jax.lax.platform_dependent(x.astype(w.dtype), w, cpu=row_by_row, default=multiply)
    return y.astype(jnp.float32)


def matmul_entry(equation: str, x: Array, w: Weight, index: Array, reduce_dtype: str = "float32") -> Array:
    """Applies `matmul` to `x` and `w[index]`, one entry of a stack of weights.

    XLA:CPU widens all entries of bf16 weights before it extracts one. Without the C++ kernels this is slow.

    Args:
        equation: as for einsum, without the axis of the stack; the axes that x and w have in common are contracted.
        x: activations `[T, ..]`, cast to the dtype of w unless w is packed.
        w: the stack of weights.
        index: the entry, i32 scalar.
        reduce_dtype: the dtype to which each device rounds its partial sum, as in `matmul`.
    """
    if isinstance(w, PackedWeight):
        return packed.matmul_entry(x.reshape(x.shape[0], -1), w, index, reduce_dtype)
    return matmul(equation, x, jax.lax.dynamic_index_in_dim(w, index, keepdims=False), reduce_dtype)


def weight(module: nn.Module, specs: Specs, name: str) -> Weight:
    """Returns the parameter `name` of `module`, which may be packed. Initialisation draws it as `specs` says."""
    if module.is_initializing():
        return parameter(module, specs, name)
    return module.get_variable("params", name)


def parameter(module: nn.Module, specs: Specs, name: str) -> Array:
    """Returns the parameter `name` of `module`, which is never packed. Initialisation draws it as `specs` says."""
    spec = specs[name,]
    found: Array = module.param(name, spec.init, spec.shape)
    return found


def activate(name: Activation, x: Array) -> Array:
    """Returns the activation function `name` of each element of `x`, f32 of any shape."""
    return jax.nn.silu(x) if name == "silu" else jax.nn.gelu(x, approximate=True)


def clamped(clamp: Clamp, gate: Array, up: Array) -> Array:
    """Returns the bounded SwiGLU of `config.Clamp`, elementwise.

    Args:
        clamp: its constants.
        gate: f32 of any shape.
        up: f32 of the same shape.
    """
    gate = jnp.minimum(gate, clamp.limit)
    return gate * jax.nn.sigmoid(clamp.alpha * gate) * (jnp.clip(up, -clamp.limit, clamp.limit) + 1)


class Norm(nn.Module):
    """The norm `x / sqrt(mean(x**2) + eps) * (scale + offset)` over the last axis (arXiv 1910.07467).

    With kind "layer", the mean of x is subtracted first (arXiv 1607.06450). The norm computes in f32 and returns f32
    for every dtype of x.
    """

    eps: float
    offset: float = 0.0
    kind: NormKind = "rms"

    @staticmethod
    def of(config: ModelConfig, name: str | None = None) -> Norm:
        """Returns a norm with the settings of `config`. `name` is the key of its parameters in the nested dict."""
        return Norm(config.norm_eps, config.norm_offset, config.norm, name=name)

    @nn.compact
    def __call__(self, x: Array) -> Array:
        scale = parameter(self, norm_specs(x.shape[-1], self.offset), "scale")
        if self.kind == "layer":
            x = x.astype(jnp.float32)
            x -= jnp.mean(x, axis=-1, keepdims=True)
        return normalised(x, self.eps) * (scale.astype(jnp.float32) + self.offset)


def normalised(x: Array, eps: float) -> Array:
    """Returns `x / sqrt(mean(x**2) + eps)`, f32 `[..., d]`, with the mean over the last axis of `x[..., d]`."""
    x = x.astype(jnp.float32)
    mean_square = jnp.mean(x * x, axis=-1, keepdims=True)
    return x * jax.lax.rsqrt(mean_square + eps)


class StepKeys:
    """The keys and values that layers computed for the tokens of a step, and that later layers may reuse.

    Args:
        attend: computes attention, see `Attend`.
    """

    def __init__(self, attend: Attend) -> None:
        self._attend = attend
        self._of_layer: dict[int, tuple[Array, Array]] = {}

    def attend(self, layer: int, q: Array, k: Array, v: Array, spec: AttentionSpec) -> Array:
        """Computes attention over the keys and values of the layer with the index `layer`. Keeps both for later layers.

        The arguments and the result are those of `Attend`.
        """
        self._of_layer[layer] = k, v
        return self._attend(layer, q, k, v, spec)

    def attend_to(self, earlier: int, q: Array, spec: AttentionSpec) -> Array:
        """Computes attention over the keys and values of the layer with the index `earlier`, which `attend` has kept.

        `q` and the result are `[T, H, d]`, f32 or bf16.
        """
        return self._attend(earlier, q, *self._of_layer[earlier], spec)


class Attention(nn.Module):
    """Grouped-query attention with rotary positions. `config` is an entry of `ModelConfig.layers`."""

    config: ModelConfig
    tensor_parallel: TensorParallel = TensorParallel()

    @nn.compact
    def __call__(self, layer: int, x: Array, rope_tables: RopeTables | None, keys: StepKeys) -> Array:
        """Maps `x[T, D]` to f32 `[T, D]`.

        Args:
            layer: the layer's index.
            x: the input, f32.
            rope_tables: the rotation of queries and keys; None for a layer without positions.
            keys: the keys and values of earlier layers.
        """
        c, tokens = self.config, x.shape[0]
        specs, spec, earlier = attention_specs(c), self._attention_spec(), c.kind.keys_of
        w = weight(self, specs, "qkv" if earlier is None else "q")
        qkv = matmul("td,dkgh->tkgh", x, w)
        if c.qkv_bias:
            qkv += parameter(self, specs, "qkv_bias").astype(jnp.float32)
        q = self._placed("q_norm", qkv[:, :, : c.group].reshape(tokens, c.num_heads, c.head_dim), rope_tables)
        if rope_tables and rope_tables.query_scale is not None:
            q *= rope_tables.query_scale
        if earlier is None:
            k, v = self._placed("k_norm", qkv[:, :, c.group], rope_tables), qkv[:, :, c.group + 1]
            v = normalised(v, c.norm_eps) if c.v_norm else v
            q, k, v = (x.astype(w.dtype) for x in (q, k, v))
            mixed = keys.attend(layer, q, k, v, spec)
        else:
            mixed = keys.attend_to(earlier, q.astype(w.dtype), spec)
        shape = (c.num_kv_heads, c.group, c.head_dim)
        out = weight(self, specs, "out")
        y = matmul("tkgh,kghd->td", mixed.reshape(tokens, *shape), out, self.tensor_parallel.reduce_dtype)
        if c.out_bias:
            y += parameter(self, specs, "out_bias").astype(jnp.float32)
        return y

    def _attention_spec(self) -> AttentionSpec:
        c = self.config
        spec = AttentionSpec(scale=c.query_scale, window=c.kind.window, cap=c.attn_logit_softcap)
        if not c.sinks:
            return spec
        sinks = parameter(self, attention_specs(c), "sinks").astype(jnp.float32)
        return replace(spec, sinks=sinks.ravel())

    def _placed(self, norm: str, x: Array, rope_tables: RopeTables | None) -> Array:
        """Returns queries or keys, f32 `[T, heads, d]`, after the model's norm, if any, and the rotation, if any.

        `norm` is the name of the norm's parameters.
        """
        c = self.config
        if c.qk_norm and not c.qk_norm_last:
            x = self._normalised(norm, x)
        x = rotate(x, rope_tables) if rope_tables else x
        return self._normalised(norm, x) if c.qk_norm_last else x

    def _normalised(self, norm: str, x: Array) -> Array:
        rows = x.reshape(len(x), -1) if self.config.qk_norm_whole else x
        return Norm.of(self.config, norm)(rows).reshape(x.shape)


class FeedForward(nn.Module):
    """A gated feed-forward layer (arXiv 2002.05202). Maps `x[T, D]` to `down(activation(gate(x)) * up(x))`, f32."""

    config: ModelConfig
    tensor_parallel: TensorParallel = TensorParallel()

    @nn.compact
    def __call__(self, x: Array) -> Array:
        c = self.config
        specs = feed_forward_specs(c)
        both = matmul("td,dcf->tcf", x, weight(self, specs, "gate_up"))
        if c.mlp_bias:
            both += parameter(self, specs, "gate_up_bias").astype(jnp.float32)
        inner = activate(c.activation, both[:, 0]) * both[:, 1]
        y = matmul("tf,fd->td", inner, weight(self, specs, "down"), self.tensor_parallel.reduce_dtype)
        if c.mlp_bias:
            y += parameter(self, specs, "down_bias").astype(jnp.float32)
        return y
