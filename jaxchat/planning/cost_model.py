"""What one step costs at a chip's peak rates: reads, products, and sums over devices."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from jaxchat.arithmetic import cdiv
from jaxchat.models.config import ModelConfig
from jaxchat.models.moe import rows_of
from jaxchat.planning.hardware import Topology


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """One step that `tokens` come out of: seconds in all, and those that reading weights and KV once takes."""

    tokens: int
    seconds: float
    weights: float
    kv: float

    @property
    def floor(self) -> float:
        """No step is faster than its reads."""
        return self.weights + self.kv

    @property
    def rate(self) -> float:
        """Tokens per second."""
        return self.tokens / self.seconds


def bytes_per_device(tree: Any) -> int:
    """Bytes that one device holds of arrays, or shapes with shardings."""
    return sum(math.prod(leaf.sharding.shard_shape(leaf.shape)) * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))


def all_reduce_seconds(size: int, topology: Topology, devices: int) -> float:
    """Seconds of all-reduces with results of `size` bytes over so many devices; latency is not counted."""
    return 2 * (devices - 1) / devices * size / topology.links(devices)


EXPERTS = ("expert_gate_up", "expert_down")


@dataclass(frozen=True)
class Cost:
    """The cost of passing tokens through a model once."""

    model: ModelConfig
    topology: Topology
    devices: int
    dtype: str
    params: dict[str, Any]
    per_token: float  # bytes of KV on a device

    def estimate(self, tokens: int, sequences: int, length: int) -> Estimate:
        """Of a step for so many tokens of sequences that are so long."""
        m, chip = self.model, self.topology.chip
        looked_up = 0 if m.tie_embeddings else bytes_per_device(self.params["embed"])  # a few rows of it are read
        experts = bytes_per_device([layer["mlp"].get(name, ()) for layer in self._layers() for name in EXPERTS])
        others = bytes_per_device(self.params) - looked_up - experts
        chosen = m.experts.top_k / m.experts.count if m.experts else 0.0
        weights = others + experts * (1 - (1 - chosen) ** tokens)  # the experts that some token has chosen
        again = experts * max(0.0, self.blocks(tokens) / m.experts.count - 1) if m.experts else 0.0  # for more blocks
        kv = self.per_token * sequences * self._seen(length) / chip.bandwidth
        matmuls = tokens * (others + experts * chosen) / jnp.dtype(self.dtype).itemsize
        scores = 2 * m.num_layers * m.num_heads * m.head_dim / self.devices * tokens * self._seen(length)
        local = max((weights + again) / chip.bandwidth + kv, 2 * (matmuls + scores) / chip.flops)
        reduced = (
            2 * m.num_layers * tokens * m.embed_dim * jnp.dtype(self.dtype).itemsize
        )  # two sums a layer, of [T, D]
        seconds = local + all_reduce_seconds(reduced, self.topology, self.devices)
        return Estimate(tokens=tokens, seconds=seconds, weights=weights / chip.bandwidth, kv=kv)

    def blocks(self, tokens: int) -> float:
        """Blocks of rows that a layer's experts compute for so many tokens, as many on average (`models.experts`).

        Each token chooses experts of its own, all as likely; a block is of one expert, so its rows may be unused.
        """
        if not self.model.experts:
            return 0.0
        count, share = self.model.experts.count, self.model.experts.top_k / self.model.experts.count
        size = rows_of(tokens, self.model.experts)
        chances = (math.comb(tokens, n) * share**n * (1 - share) ** (tokens - n) for n in range(tokens + 1))
        return count * sum(chance * cdiv(n, size) for n, chance in enumerate(chances))

    def _seen(self, length: int) -> float:
        """Keys that a token sees, of so many before it: the mean over layers, which may have windows."""
        return sum(min(length, kind.window or length) for kind in self.model.kinds) / self.model.num_layers

    def _layers(self) -> list[dict[str, Any]]:
        return [self.params[f"layer_{index}"] for index in range(self.model.num_layers)]
