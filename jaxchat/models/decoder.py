"""The decoder, which maps tokens to hidden states, and hidden states to logits. Its caller keeps the KV cache.

Letters are those of `ModelConfig`. T is the number of tokens.
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
from flax import linen as nn
from jax import Array

from jaxchat.kernels.matmul.packed import PackedWeight, take
from jaxchat.models.config import ModelConfig
from jaxchat.models.layers import Attend, Attention, FeedForward, Norm, StepKeys, matmul, parameter, weight
from jaxchat.models.moe import MoE
from jaxchat.models.param_specs import layer_specs, outer_specs
from jaxchat.models.per_layer import PerLayerInputs, PerLayerResidual
from jaxchat.models.rope import RopeTables, rotation
from jaxchat.models.sharding import TensorParallel


class Decoder(nn.Module):
    """The decoder of every family, for one flat array of tokens.

    Layers are unrolled, with one parameter subtree each: scanning stacked weights would copy them in every step on CPU
    and GPU.

    The array of a decode step has one token of each of R sequences. The array of a prefill step has T tokens of one or
    more prompts. Training packs several conversations into one array; its `attend` prevents attention between them.
    """

    config: ModelConfig
    tensor_parallel: TensorParallel = TensorParallel()

    def setup(self) -> None:
        c, specs = self.config, outer_specs(self.config)
        self.table = weight(self, specs, "embed")
        if c.per_layer_dim:
            self.per_layer = PerLayerInputs(c)
        self.blocks = [
            Block(layer, self.tensor_parallel, name=f"layer_{index}") for index, layer in enumerate(c.layers)
        ]
        self.norm = Norm.of(c)
        if not c.tie_embeddings:
            self.head = weight(self, specs, "head")

    def __call__(self, tokens: Array, positions: Array, *, attend: Attend) -> Array:
        """Returns the hidden states after the last norm.

        Args:
            tokens: `[T]` int32 token ids.
            positions: `[T]` int32 position of each token in its own sequence.
            attend: called once by each layer, in order; see `layers.Attend`.

        Returns:
            `[T, D]` f32.
        """
        c = self.config
        table = self.table
        embedded = take(table, tokens) if isinstance(table, PackedWeight) else jnp.take(table, tokens, axis=0)
        x = embedded.astype(jnp.float32)
        if c.embed_scale != 1:
            dtype = self.table.dtype if c.round_embed_scale else jnp.float32
            x *= jnp.asarray(c.embed_scale, dtype).astype(jnp.float32)
        inputs = self.per_layer(tokens, x) if c.per_layer_dim else None
        ropes = dict.fromkeys((layer.kind.rope, layer.head_dim) for layer in c.layers)
        tables = {(rope, width): rotation(rope, width, positions) if rope else None for rope, width in ropes}
        keys = StepKeys(attend)
        for index, (layer, block) in enumerate(zip(c.layers, self.blocks, strict=True)):
            rope_tables = tables[layer.kind.rope, layer.head_dim]
            x = block(index, x, rope_tables, keys, None if inputs is None else inputs[:, index])
        return self.norm(x)

    def logits(self, hidden: Array) -> Array:
        """Returns the logits `[T, V]` (f32) for `hidden[T, D]`."""
        c = self.config
        logits = matmul("td,vd->tv", hidden, self.table) if c.tie_embeddings else matmul("td,dv->tv", hidden, self.head)
        if c.logit_scale != 1:
            logits *= c.logit_scale
        return c.final_logit_softcap * jnp.tanh(logits / c.final_logit_softcap) if c.final_logit_softcap else logits


def hidden_states(decoder: Decoder, params: Any, tokens: Array, positions: Array, attend: Attend) -> Array:
    """Returns the hidden states, f32 `[T, D]`, that `Decoder.__call__` computes with the parameters `params`.

    The other arguments are those of `Decoder.__call__`.
    """
    hidden: Array = decoder.apply({"params": params}, tokens, positions, attend=attend)  # type: ignore[assignment]
    return hidden


def logits_of(decoder: Decoder, params: Any, hidden: Array) -> Array:
    """Returns the logits, f32 `[T, V]`, that `Decoder.logits` computes with `params` for `hidden[T, D]`."""
    logits: Array = decoder.apply({"params": params}, hidden, method=Decoder.logits)  # type: ignore[assignment]
    return logits


class Block(nn.Module):
    """A decoder layer: attention and MLP, whose outputs are added to the residual stream.

    `config` is an entry of `ModelConfig.layers`. The residual stream is f32 for every dtype of weights.
    """

    config: ModelConfig
    tensor_parallel: TensorParallel = TensorParallel()

    @nn.compact
    def __call__(
        self, layer: int, x: Array, rope_tables: RopeTables | None, keys: StepKeys, layer_input: Array | None
    ) -> Array:
        """Maps the residual stream `x[T, D]` to f32 `[T, D]`.

        Args:
            layer: the index of the layer.
            x: the residual stream.
            rope_tables: the rotation of queries and keys; None for a layer without positions.
            keys: computes the attention, over keys and values of this layer or of an earlier one. The call adds those
                of this layer if it has its own.
            layer_input: `[T, P]` f32, the layer's part of the output of `PerLayerInputs`; None for models without it.
        """
        c = self.config
        attention = Attention(c, self.tensor_parallel, name="attention")
        normed = self._read("attention_norm", x)
        mixed = self._added("attention_post_norm", attention(layer, normed, rope_tables, keys))
        if c.parallel:
            x = x + mixed + self._added("mlp_post_norm", self._feed_forward(x, normed))
        else:
            x = x + mixed
            x = x + self._added("mlp_post_norm", self._feed_forward(x, self._read("mlp_norm", x)))
        if layer_input is not None:
            x = x + Norm.of(c, "per_layer_post_norm")(PerLayerResidual(c, name="per_layer")(x, layer_input))
        return x * parameter(self, layer_specs(c), "scalar").astype(jnp.float32) if c.layer_scalars else x

    def _feed_forward(self, x: Array, normed: Array) -> Array:
        """Returns the output `[T, D]` of the feed-forward layer, of experts, or of both.

        Args:
            x: `[T, D]`, the residual stream.
            normed: `[T, D]`, `x` after a norm. Experts that stand beside a dense layer read another norm of `x`.
        """
        c, experts = self.config, self.config.experts if self.config.kind.sparse else None
        if experts and not experts.beside_dense:
            return MoE(c, experts, self.tensor_parallel, name="mlp")(normed)
        dense: Array = FeedForward(c, self.tensor_parallel, name="mlp")(normed)
        if not experts:
            return dense
        mixture = MoE(c, experts, self.tensor_parallel, name="experts")
        mixed = mixture(Norm.of(c, "experts_norm")(x), x if experts.router_norm else None)
        return Norm.of(c, "dense_post_norm")(dense) + Norm.of(c, "experts_post_norm")(mixed)

    def _read(self, norm: str, x: Array) -> Array:
        """Returns the input of a sublayer: the residual stream `x[T, D]`, normalised if `pre_norms` is set."""
        y: Array = Norm.of(self.config, norm)(x) if self.config.pre_norms else x
        return y

    def _added(self, norm: str, y: Array) -> Array:
        """Returns what a sublayer with the output `y[T, D]` adds to the residual stream.

        This is the output times `residual_scale`. The output is normalised before that if `post_norms` is set.
        """
        c = self.config
        y = Norm.of(c, norm)(y) if c.post_norms else y
        return y if c.residual_scale == 1 else y * c.residual_scale
