"""Tokens of several sequences, one sequence after the other in a flat array, as a prefill step has them.

Letters in shapes are those of `AttentionBackend`.
"""

from __future__ import annotations

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jax import Array


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Tiles:
    """The rows of a batch in M tiles of equal size. A tile holds successive tokens of one sequence."""

    rows: Array  # i32 [M, size], each a row of the batch; meaningless from `counts` on
    sequences: Array  # i32 [M], index of the sequence in the batch
    starts: Array  # i32 [M], position of the first token
    counts: Array  # i32 [M], number of rows in use; 0 in tiles that are not needed
    places: Array  # i32 [T], where a row of the batch is in the flat array of all tiles' rows

    @property
    def ends(self) -> Array:
        """The position after the last token of each tile, i32 `[M]`; 0 in tiles that are not needed."""
        return jnp.where(self.counts > 0, self.starts + self.counts, 0)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class RaggedBatch:
    """Successive tokens of B sequences in an array of T rows, sequence after sequence.

    Sequences without a row come last. Rows from `bounds[B]` on are padding.
    """

    tables: Array  # i32 [B, P], page ids
    starts: Array  # i32 [B], position of the first token that is in the batch
    bounds: Array  # i32 [B + 1]; rows bounds[i] to bounds[i + 1] - 1 belong to sequence i

    @staticmethod
    def single(table: Array, start: Array, count: Array | int) -> RaggedBatch:
        """Returns the batch of one sequence.

        Args:
            table: i32 `[P]`, page ids.
            start: i32 scalar. The first token in the batch has this position in the sequence.
            count: number of tokens in the batch. They begin at the first row.
        """
        return RaggedBatch(table[None], jnp.reshape(start, 1), jnp.array([0, count], jnp.int32))

    @property
    def counts(self) -> Array:
        """The number of rows of each sequence, i32 `[B]`."""
        return self.bounds[1:] - self.bounds[:-1]

    def positions(self, size: int) -> Array:
        """Returns the position of each of `size` rows in its sequence, i32 `[size]`; meaningless in padding."""
        rows = jnp.arange(size, dtype=jnp.int32)
        owner = self._owners(rows)
        return self.starts[owner] + rows - self.bounds[owner]

    def tiles(self, size: int, tile: int) -> Tiles:
        """Divides the rows into tiles.

        Args:
            size: T, number of rows with padding.
            tile: number of rows in a tile. Only the last tile of a sequence may have fewer rows in use.
        """
        sequences, rows = len(self.starts), jnp.arange(size, dtype=jnp.int32)
        needed = (self.counts + tile - 1) // tile
        ends = jnp.cumsum(needed)
        index = jnp.arange((size + sequences * (tile - 1)) // tile, dtype=jnp.int32)
        owner = jnp.minimum(jnp.sum(ends <= index[:, None], axis=1), sequences - 1)
        first = (index - ends[owner] + needed[owner]) * tile  # in the sequence's rows
        inside = self.bounds[owner][:, None] + first[:, None] + jnp.arange(tile, dtype=jnp.int32)
        own = self._owners(rows)
        return Tiles(
            rows=jnp.clip(inside, 0, size - 1),
            sequences=owner,
            starts=self.starts[owner] + first,
            counts=jnp.where(index < ends[-1], jnp.clip(self.counts[owner] - first, 0, tile), 0),
            places=jnp.clip((ends - needed)[own] * tile + rows - self.bounds[own], 0, len(index) * tile - 1),
        )

    def _owners(self, rows: Array) -> Array:
        """Returns the sequence of each row, i32 `[T]`; the last sequence for padding."""
        return jnp.minimum(jnp.sum(self.bounds[1:] <= rows[:, None], axis=1), len(self.starts) - 1)
