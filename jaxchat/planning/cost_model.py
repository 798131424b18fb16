"""The time of one step at a chip's peak rates: reads, matrix products, and all-reduces."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxchat.arithmetic import cdiv
from jaxchat.kernels.matmul.packed import JoinedWeight, PackedWeight
from jaxchat.kernels.matmul.weight_only import TiedTable, WeightOnly, group_count
from jaxchat.models.config import ModelConfig
from jaxchat.models.moe import rows_of
from jaxchat.models.param_specs import ParamPath, param_at, param_specs
from jaxchat.planning.hardware import Topology

_CODES_OF_WORD = 8  # codes of 4 bits in a word of `WeightOnly.codes`


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """An estimate of the time of one step that computes `tokens` tokens.

    `seconds` is the time of the whole step. `weights` and `kv` are the seconds for reading weights and KV pages once.
    """

    tokens: int
    seconds: float
    weights: float
    kv: float

    @property
    def floor(self) -> float:
        """Seconds for reading weights and KV pages. It is a lower bound of `seconds`."""
        return self.weights + self.kv

    @property
    def rate(self) -> float:
        """Tokens per second."""
        return self.tokens / self.seconds


def bytes_per_device(tree: Any) -> int:
    """Returns the bytes that a pytree of arrays, or of shapes with shardings, takes on one device."""
    return sum(_count(leaf) * jax.dtypes.itemsize_bits(leaf.dtype) // 8 for leaf in jax.tree.leaves(tree))


def numbers_per_device(tree: Any) -> int:
    """Returns the number of weights in `tree` on one device, including tables that are only looked up.

    A quantised weight counts its codes and not its scales. A `TiedTable` counts once, as the head.
    """
    return sum(_numbers(leaf) for leaf in jax.tree.leaves(tree, is_leaf=lambda leaf: isinstance(leaf, PackedWeight)))


def largest_dequantised(tree: Any) -> int:
    """Returns the bytes that the largest weight in groups takes on one device once it is dequantised; 0 without any.

    Of a stack it is one weight.
    """

    def size(leaf: Any) -> int:
        if not isinstance(leaf, WeightOnly) or leaf.layout.order == "table" or group_count(leaf) == 1:
            return 0
        weights = leaf.codes.sharding.shard_shape(leaf.codes.shape)[0] if leaf.layout.stack else 1
        return leaf.dtype.itemsize * _numbers(leaf) // weights

    return max(map(size, jax.tree.leaves(tree, is_leaf=lambda leaf: isinstance(leaf, WeightOnly))), default=0)


def _numbers(weight: Any) -> int:
    if isinstance(weight, JoinedWeight):
        return sum(map(_numbers, weight.parts))
    if isinstance(weight, TiedTable):
        return _numbers(weight.head)
    if isinstance(weight, WeightOnly):
        return _count(weight.codes) * (_CODES_OF_WORD if weight.codes.dtype == np.int32 else 1)
    return _count(weight)


def _count(leaf: Any) -> int:
    return math.prod(leaf.sharding.shard_shape(leaf.shape))


def all_reduce_seconds(size: int, topology: Topology, devices: int) -> float:
    """Returns the seconds for all-reduces of `size` bytes over `devices` devices. Neglects latency."""
    return 2 * (devices - 1) / devices * size / topology.links(devices)


@dataclass(frozen=True)
class Cost:
    """A cost model of one step.

    Attributes:
        model: the configuration of the model.
        topology: the slice.
        devices: number of devices that the model is split over.
        dtype: dtype of the weights.
        params: shapes of the parameters with their shardings, a pytree.
        per_token: bytes of KV on a device for each token.
    """

    model: ModelConfig
    topology: Topology
    devices: int
    dtype: str
    params: dict[str, Any]
    per_token: float  # bytes of KV on a device

    def estimate(self, tokens: int, sequences: int, length: int) -> Estimate:
        """Returns the estimate of one step.

        Args:
            tokens: number of tokens that the step computes.
            sequences: number of sequences that the tokens belong to.
            length: number of earlier tokens in each sequence.
        """
        m, chip = self.model, self.topology.chip
        specs = param_specs(m)
        looked_up = self._params(path for path, spec in specs.items() if spec.looked_up)
        tables = [param.table for param in self._params(specs) if isinstance(param, TiedTable)]
        per_expert = self._params(path for path, spec in specs.items() if spec.per_expert)
        experts = bytes_per_device(per_expert)
        # Of tables, only a few rows are read.
        others = bytes_per_device(self.params) - bytes_per_device([*looked_up, *tables]) - experts
        fraction = m.experts.top_k / m.experts.count if m.experts else 0.0
        weights = others + experts * (1 - (1 - fraction) ** tokens)  # experts that at least one token has chosen
        # An expert with several blocks is read several times.
        reread = experts * max(0.0, self.blocks(tokens) / m.experts.count - 1) if m.experts else 0.0
        kv = self.per_token * sequences * self._read_keys(length) / chip.bandwidth
        idle = numbers_per_device(looked_up) + (1 - fraction) * numbers_per_device(per_expert)
        matmuls = tokens * (numbers_per_device(self.params) - idle)
        scores = (
            2
            * tokens
            / self.devices
            * sum(layer.num_heads * layer.head_dim * _visible_keys(layer, length) for layer in m.layers)
        )
        local = max((weights + reread) / chip.bandwidth + kv, 2 * (matmuls + scores) / chip.flops)
        # two all-reduces of [T, D] per layer
        all_reduced = 2 * m.num_layers * tokens * m.embed_dim * jnp.dtype(self.dtype).itemsize
        seconds = local + all_reduce_seconds(all_reduced, self.topology, self.devices)
        return Estimate(tokens=tokens, seconds=seconds, weights=weights / chip.bandwidth, kv=kv)

    def blocks(self, tokens: int) -> float:
        """Returns the average number of row blocks that a layer's experts compute for `tokens` tokens.

        `models.moe` describes the blocks. Assumes that each token chooses its experts independently and uniformly.
        """
        if not self.model.experts:
            return 0.0
        count, share = self.model.experts.count, self.model.experts.top_k / self.model.experts.count
        size = rows_of(tokens, self.model.experts)
        return count * sum(_binomial(tokens, n, share) * cdiv(n, size) for n in range(tokens + 1))

    def _read_keys(self, length: int) -> float:
        """Returns the size of the keys that a token reads in all layers, divided by the size of one token's keys.

        `length` is the number of earlier tokens. If every layer stores keys and has no window, the result is `length`.
        Windows make it smaller. Layers that read the keys of another layer, and store none, make it larger.
        """
        layers = self.model.layers
        stored = sum(_key_size(layer) for layer in layers if layer.kind.keys_of is None)
        return sum(_key_size(layer) * _visible_keys(layer, length) for layer in layers) / stored

    def _params(self, paths: Iterable[ParamPath]) -> list[Any]:
        return [param_at(self.params, path) for path in paths]


def _binomial(trials: int, hits: int, share: float) -> float:
    """Returns the probability of exactly `hits` hits in `trials` independent trials.

    Args:
        trials: number of trials.
        hits: number of hits, from 0 to `trials`.
        share: probability of a hit in one trial, above 0.
    """
    if share == 1:
        return float(hits == trials)
    # In logarithms, because the number of ways exceeds the range of floats from 1030 trials on.
    ways = math.lgamma(trials + 1) - math.lgamma(hits + 1) - math.lgamma(trials - hits + 1)
    return math.exp(ways + hits * math.log(share) + (trials - hits) * math.log1p(-share))


def _key_size(layer: ModelConfig) -> int:
    return layer.num_kv_heads * layer.head_dim


def _visible_keys(layer: ModelConfig, length: int) -> int:
    """Returns how many of `length` earlier keys a token sees in one layer."""
    return min(length, layer.kind.window or length)
