"""A mixture of experts. It never drops a token, and no token of a step changes the bits of another token.

Each token goes to a few experts. The rows of a step are sorted by expert, and each expert's rows are cut into padded
blocks of one fixed size. Every matrix product of a program then has the same shape for any routing, and no row of a
product depends on another row. Each expert's output is added to its tokens' sums as soon as it is computed, in the
order of the experts. The outputs of all experts are therefore never in memory together.

Letters: T tokens, D embedding dimension, E experts, k experts for each token.
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import Array
from jax.sharding import PartitionSpec

from jaxchat.arithmetic import cdiv
from jaxchat.kernels.matmul.packed import partition
from jaxchat.models.config import Experts, ModelConfig
from jaxchat.models.layers import (
    FeedForward,
    Weight,
    activate,
    clamped,
    matmul,
    matmul_entry,
    normalised,
    parameter,
    weight,
)
from jaxchat.models.param_specs import moe_specs, shared_config
from jaxchat.models.sharding import TensorParallel

ROWS, MOST_ROWS = 8, 128  # least and most rows of a block


class MoE(nn.Module):
    """A router and E gated feed-forward layers. The router chooses k of them for each token (arXiv 2401.04088)."""

    config: ModelConfig
    experts: Experts
    tensor_parallel: TensorParallel = TensorParallel()

    @nn.compact
    def __call__(self, x: Array, stream: Array | None = None) -> Array:
        """Maps `x[T, D]` to f32 `[T, D]`.

        Args:
            x: the input of the experts, f32. The router reads it too if `stream` is None.
            stream: the residual stream, f32 `[T, D]`, for a router with a separate norm.
        """
        c, e = self.config, self.experts
        specs = moe_specs(c, e)
        weights: tuple[Weight, ...] = (weight(self, specs, "expert_gate_up"), weight(self, specs, "expert_down"))
        down_bias = None
        routed = x if stream is None else self._router_norm(stream)
        logits = matmul("td,de->te", routed, parameter(self, specs, "router"))
        if e.bias:
            logits += parameter(self, specs, "router_bias").astype(jnp.float32)
            weights += (parameter(self, specs, "expert_gate_up_bias").astype(jnp.float32),)
            down_bias = parameter(self, specs, "expert_down_bias").astype(jnp.float32)
        expert_ids, shares = route(logits, e)
        if e.scaled:
            shares *= parameter(self, specs, "expert_scale").astype(jnp.float32)[expert_ids]

        size = rows_of(len(x), e) if self.tensor_parallel.long_blocks else ROWS

        def mixed(x: Array, expert_ids: Array, shares: Array, gate_up: Weight, down: Weight, *bias: Array) -> Array:
            def expert(index: Array, rows: Array) -> Array:
                both = matmul_entry("td,dcf->tcf", rows, gate_up, index)
                if bias:
                    both += bias[0][index]
                gate, up = both[:, 0], both[:, 1]
                inner = clamped(e.clamp, gate, up) if e.clamp else activate(c.activation, gate) * up
                return matmul_entry("tf,fd->td", inner, down, index, self.tensor_parallel.reduce_dtype)

            if not self.tensor_parallel.experts:
                return grouped_ffn(expert, x, expert_ids, shares, e.count, size)
            own = e.count // self.tensor_parallel.devices
            first = own * jax.lax.axis_index(axis)
            is_local = (expert_ids >= first) & (expert_ids < first + own)
            return grouped_ffn(expert, x, jnp.where(is_local, expert_ids - first, own), shares, own, size)

        # Each device has a part of every expert, or all of some. Results are summed once, after the last expert.
        replicated, axis = PartitionSpec(), "tensor"
        splits = (PartitionSpec(None, None, None, axis), PartitionSpec(None, axis), PartitionSpec(None, None, axis))
        if self.tensor_parallel.experts:
            splits = (PartitionSpec(axis),) * 3
        parts = [partition(w, split, axis) for w, split in zip(weights, splits, strict=False)]
        summed = self.tensor_parallel.sum_over_devices(mixed, (replicated, replicated, replicated, *parts))
        y = summed(x, expert_ids, shares, *weights)
        if down_bias is not None:
            y += _weighted_sum(shares, down_bias[expert_ids])
        if not e.shared_dim:
            return y
        shared = FeedForward(shared_config(c, e), self.tensor_parallel, name="shared")(x)
        return y + jax.nn.sigmoid(matmul("td,de->te", x, parameter(self, specs, "shared_gate"))) * shared

    def _router_norm(self, stream: Array) -> Array:
        c = self.config
        scale = parameter(self, moe_specs(c, self.experts), "router_scale").astype(jnp.float32)
        return normalised(stream, c.norm_eps) * scale * c.embed_dim**-0.5


def _weighted_sum(shares: Array, rows: Array) -> Array:
    """Returns the sums of `rows[T, k, D]` over k, weighted by `shares[T, k]`. Adds in the order of k."""
    total = jnp.zeros_like(rows[:, 0])
    for rank in range(shares.shape[1]):
        total += shares[:, rank, None] * rows[:, rank]
    return total


def route(logits: Array, experts: Experts) -> tuple[Array, Array]:
    """Returns each token's expert ids, i32 `[T, k]`, and the weights of the experts' outputs, f32 `[T, k]`.

    Args:
        logits: f32 `[T, E]`, the output of the router.
        experts: the mixture of experts; k is its `top_k`.
    """
    top, expert_ids = jax.lax.top_k(logits, experts.top_k)

    def exponential(x: Array) -> Array:
        # Barriers, because from jax 0.12 on the bits of a fused exponential depend on the row count on CPUs.
        return jax.lax.optimization_barrier(jnp.exp(jax.lax.optimization_barrier(x - top[:, :1])))

    weights = exponential(top)
    if experts.normalized:
        total = sum(weights[:, rank, None] for rank in range(experts.top_k))
    else:
        total = jnp.sum(exponential(logits), axis=1, keepdims=True)
    return expert_ids, weights / total


def rows_of(tokens: int, experts: Experts) -> int:
    """Returns the number of rows of a block for a step of `tokens` tokens: a power of two from 8 to 128.

    In this range, it is twice the average number of rows of an expert, rounded up. Most experts then need only one
    block, so that their weights are read only once. Computing padding takes less time than reading weights again.
    """
    target = cdiv(2 * tokens * experts.top_k, experts.count)
    return min(max(ROWS, 1 << (target - 1).bit_length()), MOST_ROWS)


def grouped_ffn(
    expert: Callable[[Array, Array], Array], x: Array, expert_ids: Array, shares: Array, count: int, size: int = ROWS
) -> Array:
    """Returns, for each token, the sum of its experts' outputs, weighted by their shares.

    Args:
        expert: `expert(index, rows)` returns f32 `[size, D]`, the output of one expert for `rows[size, D]`; some rows
            may be padding.
        x: `[T, D]`.
        expert_ids: `[T, k]` i32; ids of `count` or more add nothing.
        shares: `[T, k]` f32, the weights of the experts' outputs.
        count: number of experts.
        size: rows of a block.

    Returns:
        `[T, D]` f32, added in the order of the experts. A row does not depend on the other rows of `x`.
    """
    tokens, per_token = expert_ids.shape
    order = jnp.argsort(expert_ids.ravel())  # pairs of token and rank, by expert; stable
    loads = jnp.sum(expert_ids.ravel()[:, None] == jnp.arange(count), axis=0)
    blocks = (loads + size - 1) // size
    ends, starts = jnp.cumsum(blocks), jnp.cumsum(loads) - loads

    def block(index: Array, total: Array) -> Array:
        owner = jnp.searchsorted(ends, index, side="right")
        inside = (index - ends[owner] + blocks[owner]) * size + jnp.arange(size)
        pairs = order.at[starts[owner] + inside].get(mode="clip")
        rows = shares.ravel()[pairs, None] * expert(owner, x[pairs // per_token])
        return total.at[jnp.where(inside < loads[owner], pairs // per_token, tokens)].add(rows, mode="drop")

    return jax.lax.fori_loop(0, ends[-1], block, jnp.zeros(x.shape, jnp.float32))
