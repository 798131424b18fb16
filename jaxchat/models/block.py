"""One layer of the decoder: attention, then a feed-forward layer or experts, each added to the residual stream."""

from __future__ import annotations

from flax import linen as nn
from jax import Array

from jaxchat.models.config import ModelConfig
from jaxchat.models.experts import Mixture
from jaxchat.models.layers import Attend, Attention, FeedForward, RMSNorm, Turn
from jaxchat.models.spread import Spread


class Block(nn.Module):
    """Pre-norm residual block. The residual stream stays f32 whatever the dtype of the weights."""

    config: ModelConfig
    spread: Spread = Spread()

    @nn.compact
    def __call__(self, layer: int, x: Array, turn: Turn, attend: Attend) -> Array:
        c = self.config
        mixed = Attention(c, self.spread, name="attention")(layer, self._norm("attention_norm", x), turn, attend)
        x = x + (self._norm("attention_post_norm", mixed) if c.post_norms else mixed)
        sparse = c.experts if c.kinds[layer].sparse else None
        inner = Mixture(c, sparse, self.spread, name="mlp") if sparse else FeedForward(c, self.spread, name="mlp")
        y = inner(self._norm("mlp_norm", x))
        return x + (self._norm("mlp_post_norm", y) if c.post_norms else y)

    def _norm(self, name: str, x: Array) -> Array:
        y: Array = RMSNorm(self.config.norm_eps, self.config.norm_offset, name=name)(x)
        return y
