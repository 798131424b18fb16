"""The layers of the decoder. Weights are stored [in, out], fused where one matrix product serves several outputs.

The fused query-key-value matrix is grouped by KV head, `[D, K, G + 2, d]` with G = H / K: G query heads, then the key,
then the value. Splitting over K therefore splits the attention cleanly across devices.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import Array

from jaxchat.models.config import ModelConfig
from jaxchat.models.rope import rotate

Attend = Callable[[int, Array, Array, Array], Array]
"""`attend(layer, q[T, H, d], k[T, K, d], v[T, K, d]) -> [T, H, d]`; whoever calls the decoder owns the KV cache."""


def contract(equation: str, x: Array, w: Array) -> Array:
    """`einsum` of activations and weights that accumulates and returns f32.

    XLA:CPU widens bf16 weights to f32 first (8x slower) unless the f32 result is asked for.
    """
    precision = jax.lax.Precision.HIGHEST if w.dtype == jnp.float32 else None
    return jnp.einsum(equation, x.astype(w.dtype), w, precision=precision, preferred_element_type=jnp.float32)


class RMSNorm(nn.Module):
    """`x / rms(x) * scale` over the last axis, in f32 (arXiv 1910.07467)."""

    eps: float

    @nn.compact
    def __call__(self, x: Array) -> Array:
        scale = self.param("scale", nn.initializers.ones, (x.shape[-1],))
        x = x.astype(jnp.float32)
        # A matrix product: XLA:CPU reduces in one order for two rows and in another for eight, products it does not.
        mean = jnp.full((x.shape[-1], 8), 1 / x.shape[-1], jnp.float32)
        mean_square = contract("td,dn->tn", x * x, mean)[:, :1]
        return x * jax.lax.rsqrt(mean_square + self.eps) * scale.astype(jnp.float32)


class Attention(nn.Module):
    """Grouped-query attention with rotary positions."""

    config: ModelConfig

    @nn.compact
    def __call__(self, layer: int, x: Array, turn: tuple[Array, Array], attend: Attend) -> Array:
        """`x[T, D]`, `turn` = cosine and sine `[T, 1, d/2]`; returns f32 `[T, D]`."""
        c, tokens = self.config, x.shape[0]
        fused = (c.kv_heads, c.group + 2, c.head_width)
        w = self.param("qkv", _scaled(c.width), (c.width, *fused))
        qkv = contract("td,dkgh->tkgh", x, w)
        if c.qkv_bias:
            qkv += self.param("qkv_bias", nn.initializers.zeros, fused).astype(jnp.float32)
        qkv = qkv.astype(w.dtype)
        q = rotate(qkv[:, :, : c.group].reshape(tokens, c.heads, c.head_width), *turn)
        k = rotate(qkv[:, :, c.group], *turn)
        mixed = attend(layer, q, k, qkv[:, :, c.group + 1])
        shape = (c.kv_heads, c.group, c.head_width)
        out = self.param("out", _scaled(c.heads * c.head_width), (*shape, c.width))
        y = contract("tkgh,kghd->td", mixed.reshape(tokens, *shape), out)
        if c.out_bias:
            y += self.param("out_bias", nn.initializers.zeros, (c.width,)).astype(jnp.float32)
        return y


class FeedForward(nn.Module):
    """SwiGLU: `down(silu(gate(x)) * up(x))` (arXiv 2002.05202)."""

    config: ModelConfig

    @nn.compact
    def __call__(self, x: Array) -> Array:
        c = self.config
        both = contract("td,dcf->tcf", x, self.param("gate_up", _scaled(c.width), (c.width, 2, c.ffn_width)))
        if c.mlp_bias:
            both += self.param("gate_up_bias", nn.initializers.zeros, (2, c.ffn_width)).astype(jnp.float32)
        inner = jax.nn.silu(both[:, 0]) * both[:, 1]
        y = contract("tf,fd->td", inner, self.param("down", _scaled(c.ffn_width), (c.ffn_width, c.width)))
        if c.mlp_bias:
            y += self.param("down_bias", nn.initializers.zeros, (c.width,)).astype(jnp.float32)
        return y


class Block(nn.Module):
    """Pre-norm residual block. The residual stream stays f32 whatever the dtype of the weights."""

    config: ModelConfig

    @nn.compact
    def __call__(self, layer: int, x: Array, turn: tuple[Array, Array], attend: Attend) -> Array:
        c = self.config
        x = x + Attention(c, name="attention")(layer, RMSNorm(c.norm_eps, name="attention_norm")(x), turn, attend)
        return x + FeedForward(c, name="mlp")(RMSNorm(c.norm_eps, name="mlp_norm")(x))


def _scaled(fan_in: int) -> Any:
    return nn.initializers.normal(stddev=fan_in**-0.5)
