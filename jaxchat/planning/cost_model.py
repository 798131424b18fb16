"""What one step costs at a chip's peak rates: reads, products, and sums over devices."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from jaxchat.models.config import ModelConfig
from jaxchat.models.moe import rows_of
from jaxchat.models.param_specs import ParamPath, param_at, param_specs
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
        specs = param_specs(m)
        looked_up = self._bytes(path for path, spec in specs.items() if spec.looked_up)  # a few rows of it are read
        experts = self._bytes(path for path, spec in specs.items() if spec.per_expert)
        others = bytes_per_device(self.params) - looked_up - experts
        chosen = m.experts.chosen / m.experts.count if m.experts else 0.0
        weights = others + experts * (1 - (1 - chosen) ** tokens)  # the experts that some token has chosen
        again = experts * max(0.0, self.blocks(tokens) / m.experts.count - 1) if m.experts else 0.0  # for more blocks
        kv = self.per_token * sequences * self._seen(length) / chip.bandwidth
        products = tokens * (others + experts * chosen) / jnp.dtype(self.dtype).itemsize
        scores = 2 * m.layers * m.heads * m.head_dim / self.devices * tokens * self._seen(length)
        local = max((weights + again) / chip.bandwidth + kv, 2 * (products + scores) / chip.flops)
        reduced = 2 * m.layers * tokens * m.width * jnp.dtype(self.dtype).itemsize  # two sums a layer, of [T, D]
        seconds = local + all_reduce_seconds(reduced, self.topology, self.devices)
        return Estimate(tokens=tokens, seconds=seconds, weights=weights / chip.bandwidth, kv=kv)

    def blocks(self, tokens: int) -> float:
        """Blocks of rows that a layer's experts compute for so many tokens, as many on average (`models.experts`).

        Each token chooses experts of its own, all as likely; a block is of one expert, so its rows may be unused.
        """
        if not self.model.experts:
            return 0.0
        count, each = self.model.experts.count, self.model.experts.chosen / self.model.experts.count
        size = rows_of(tokens, self.model.experts)
        chances = (math.comb(tokens, n) * each**n * (1 - each) ** (tokens - n) for n in range(tokens + 1))
        return count * sum(chance * -(-n // size) for n, chance in enumerate(chances))

    def _seen(self, length: int) -> float:
        """Keys that a token sees, of so many before it: the mean over layers, which may have windows."""
        return sum(min(length, kind.window or length) for kind in self.model.kinds) / self.model.layers

    def _bytes(self, paths: Iterable[ParamPath]) -> int:
        return bytes_per_device([param_at(self.params, path) for path in paths])
