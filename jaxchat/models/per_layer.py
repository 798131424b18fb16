"""Per-layer embeddings (PLE): an input of each layer in addition to the residual stream, as in Gemma 3n and 4.

The input is the mean of two parts, scaled by sqrt(2). One part is a second, narrow embedding of the token for each
layer. The other part is a normalised projection of the token's main embedding.

Letters are those of `ModelConfig`. T is the number of tokens, P the size of a layer's input.
"""

from __future__ import annotations

import math

import jax.numpy as jnp
from flax import linen as nn
from jax import Array

from jaxchat.models.config import ModelConfig
from jaxchat.models.layers import Norm, activate, matmul, parameter, weight
from jaxchat.models.param_specs import per_layer_residual_specs, per_layer_specs


class PerLayerInputs(nn.Module):
    """The per-layer inputs of all layers. P is `ModelConfig.per_layer_dim`."""

    config: ModelConfig

    @nn.compact
    def __call__(self, tokens: Array, embedded: Array) -> Array:
        """Returns the input of each layer.

        Args:
            tokens: `[T]` int32 token ids.
            embedded: `[T, D]` f32, the main embeddings of the tokens, times `embed_scale`.

        Returns:
            `[T, L, P]` f32.
        """
        c, specs = self.config, per_layer_specs(self.config)
        table = parameter(self, specs, "embed")
        scale = jnp.asarray(math.sqrt(c.per_layer_dim), table.dtype).astype(jnp.float32)  # rounded as in training
        looked_up = jnp.take(table, tokens, axis=0).astype(jnp.float32) * scale
        projected = matmul("td,dlp->tlp", embedded, weight(self, specs, "projection")) * c.embed_dim**-0.5
        projected = Norm.of(c, "norm")(projected)
        return (projected + looked_up.reshape(projected.shape)) * math.sqrt(0.5)


class PerLayerResidual(nn.Module):
    """The value that a per-layer input adds to the residual stream. The block normalises this value before adding it.

    The value is `out(activation(gate(x)) * layer_input)`.
    """

    config: ModelConfig

    @nn.compact
    def __call__(self, x: Array, layer_input: Array) -> Array:
        """Maps the residual stream `x[T, D]` and `layer_input[T, P]` to f32 `[T, D]`."""
        specs = per_layer_residual_specs(self.config)
        gate = activate(self.config.activation, matmul("td,dp->tp", x, weight(self, specs, "gate")))
        return matmul("tp,pd->td", gate * layer_input, weight(self, specs, "out"))
