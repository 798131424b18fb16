"""A mixture of experts without a capacity: no token is ever dropped, and none changes the bits of another.

Each token goes to a few experts, so the rows of a step are sorted by expert and each expert's rows are cut into blocks
of one fixed size, padded where they do not fill it. Every product of a program then has the same shape, whoever the
tokens go to, and a row of a product does not depend on the others. What a token's experts give is added
up in the order of the experts, as they are computed: no array has a row for each of them.
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import Array
from jax.sharding import PartitionSpec

from jaxchat.models.config import Experts, ModelConfig
from jaxchat.models.layers import Weight, activate, clamped, matmul, matmul_entry, parameter, weight
from jaxchat.models.param_specs import moe_specs
from jaxchat.models.sharding import TensorParallel

ROWS, MOST_ROWS = 8, 128  # of a block


class MoE(nn.Module):
    """Gated feed-forward layers of which each token's router chooses some (arXiv 2401.04088)."""

    config: ModelConfig
    experts: Experts
    tensor_parallel: TensorParallel = TensorParallel()

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """`x[T, D]` to f32 `[T, D]`."""
        c, e = self.config, self.experts
        specs = moe_specs(c, e)
        router = parameter(self, specs, "router")
        weights: tuple[Weight, ...] = (weight(self, specs, "expert_gate_up"), weight(self, specs, "expert_down"))
        down_bias = None
        logits = matmul("td,de->te", x, router)
        if e.bias:
            logits += parameter(self, specs, "router_bias").astype(jnp.float32)
            weights += (parameter(self, specs, "expert_gate_up_bias").astype(jnp.float32),)
            down_bias = parameter(self, specs, "expert_down_bias").astype(jnp.float32)
        chosen, shares = route(logits, e)

        size = rows_of(len(x), e) if self.tensor_parallel.long_blocks else ROWS

        def mixed(x: Array, chosen: Array, shares: Array, gate_up: Weight, down: Weight, *bias: Array) -> Array:
            def expert(index: Array, rows: Array) -> Array:
                both = matmul_entry("td,dcf->tcf", rows, gate_up, index)
                if bias:
                    both += bias[0][index]
                gate, up = both[:, 0], both[:, 1]
                inner = clamped(e.clamp, gate, up) if e.clamp else activate(c.activation, gate) * up
                return matmul_entry("tf,fd->td", inner, down, index, self.tensor_parallel.parts)

            if not self.tensor_parallel.experts:
                return grouped_ffn(expert, x, chosen, shares, e.count, size)
            own = e.count // self.tensor_parallel.devices
            first = own * jax.lax.axis_index(axis)
            here = (chosen >= first) & (chosen < first + own)
            return grouped_ffn(expert, x, jnp.where(here, chosen - first, own), shares, own, size)

        # Each device has a part of every expert, or all of some; results are added up once, after the last expert.
        whole, axis = PartitionSpec(), "tensor"
        splits = (PartitionSpec(None, None, None, axis), PartitionSpec(None, axis), PartitionSpec(None, None, axis))
        if self.tensor_parallel.experts:
            splits = (PartitionSpec(axis),) * 3
        tensor_parallel = self.tensor_parallel.added(mixed, (whole, whole, whole, *splits[: len(weights)]))
        y = tensor_parallel(x, chosen, shares, *weights)
        return y if down_bias is None else y + _shared(shares, down_bias[chosen])


def _shared(shares: Array, found: Array) -> Array:
    """The sum of `found[T, k, D]` by their `shares[T, k]`, rank by rank."""
    total = jnp.zeros_like(found[:, 0])
    for rank in range(shares.shape[1]):
        total += shares[:, rank, None] * found[:, rank]
    return total


def route(logits: Array, experts: Experts) -> tuple[Array, Array]:
    """The experts of each token, `[T, k]` i32, and their shares in its sum, `[T, k]` f32, of `logits[T, E]`."""
    top, chosen = jax.lax.top_k(logits, experts.chosen)

    def exponential(x: Array) -> Array:
        # Alone in its kernel: from jax 0.12 on, a CPU's bits of an exponential that is fused depend on the row count.
        return jax.lax.optimization_barrier(jnp.exp(jax.lax.optimization_barrier(x - top[:, :1])))

    weights = exponential(top)
    if experts.normalized:
        total = sum(weights[:, rank, None] for rank in range(experts.chosen))
    else:
        total = jnp.sum(exponential(logits), axis=1, keepdims=True)
    return chosen, weights / total


def rows_of(tokens: int, experts: Experts) -> int:
    """Rows of a block where reading an expert takes longer than multiplying a few rows more by it.

    A power of two, at least twice the tokens that an expert gets on average: few experts are then read twice.
    """
    twice = -(-2 * tokens * experts.chosen // experts.count)
    return min(max(ROWS, 1 << (twice - 1).bit_length()), MOST_ROWS)


def grouped_ffn(
    expert: Callable[[Array, Array], Array], x: Array, chosen: Array, shares: Array, count: int, size: int = ROWS
) -> Array:
    """The sum of `expert(index, rows[size, D])` over the experts that each token has chosen, by their shares.

    Args:
        expert: f32 `[size, D]` of the expert of that index; some rows may be of no token.
        x: `[T, D]`.
        chosen: `[T, k]` i32, each below `count`; what is not adds nothing.
        shares: `[T, k]` f32.
        count: how many experts there are.
        size: rows of a block.

    Returns:
        `[T, D]` f32, added up in the order of the experts: it depends on nobody else's.
    """
    tokens, each = chosen.shape
    order = jnp.argsort(chosen.ravel())  # pairs of token and rank, by expert; stable
    loads = jnp.sum(chosen.ravel()[:, None] == jnp.arange(count), axis=0)
    blocks = (loads + size - 1) // size
    ends, starts = jnp.cumsum(blocks), jnp.cumsum(loads) - loads

    def block(index: Array, total: Array) -> Array:
        owner = jnp.searchsorted(ends, index, side="right")
        inside = (index - ends[owner] + blocks[owner]) * size + jnp.arange(size)
        pairs = order.at[starts[owner] + inside].get(mode="clip")
        rows = shares.ravel()[pairs, None] * expert(owner, x[pairs // each])
        return total.at[jnp.where(inside < loads[owner], pairs // each, tokens)].add(rows, mode="drop")

    return jax.lax.fori_loop(0, ends[-1], block, jnp.zeros(x.shape, jnp.float32))
