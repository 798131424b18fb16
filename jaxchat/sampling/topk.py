"""The vocabulary in groups of 128: one cheap pass over the groups replaces a sort, or noise on every token."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import Array

GROUP = 128


def grouped(x: Array) -> Array:
    """Reshapes `[S, V]` to `[S, ceil(V / 128), 128]`, padded with -inf."""
    rows, vocab = x.shape
    padded = jnp.pad(x, ((0, 0), (0, -vocab % GROUP)), constant_values=-jnp.inf)
    return padded.reshape(rows, -1, GROUP)


def top_k(x: Array, k: int) -> tuple[Array, Array]:
    """Returns the k largest entries of each row `[S, V]` in descending order, ties by lower id.

    They lie in the k groups with the largest maxima, so only these groups are searched: 0.3 ms at [8, 152k] instead of
    1.4 ms.

    Returns:
        Values `[S, k]` and ids i32 `[S, k]`. If fewer than k entries are above -inf, the ids of the others are
        meaningless and may be V or more.
    """
    groups = grouped(x)
    if groups.shape[1] <= k:
        return _largest(x, k)
    _, group_ids = _largest(jnp.max(groups, axis=-1), k)
    group_ids = jnp.sort(group_ids, axis=-1)  # by ascending id, so that ties resolve as in the whole row
    candidates = jnp.take_along_axis(groups, group_ids[:, :, None], axis=1)
    values, index = _largest(candidates.reshape(len(x), -1), k)
    return values, jnp.take_along_axis(group_ids, index // GROUP, axis=-1) * GROUP + index % GROUP


def _largest(x: Array, k: int) -> tuple[Array, Array]:
    values, ids = jax.lax.top_k(x, k)
    # Without a barrier, XLA merges a use of some columns into a full sort (28 against 2 ms). Each result has its own,
    # because XLA's partitioner cannot split the barrier of a tuple.
    return jax.lax.optimization_barrier(values), jax.lax.optimization_barrier(ids.astype(jnp.int32))


def log_masses(z: Array) -> Array:
    """Returns `log(sum(exp(z)))` of each group, up to a constant per row: `[S, V]` to `[S, ceil(V / 128)]`."""
    top = jnp.max(z, axis=-1)[:, None, None]
    return jnp.log(jnp.sum(jnp.exp(grouped(z) - top), axis=-1))
