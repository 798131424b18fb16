"""Rows of several sequences in tiles, against a list of the same rows in Python."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from jaxchat.kernels.attention.ragged_batch import RaggedBatch

ROWS, SEQUENCES, TILE = 40, 4, 16


@jax.jit
def tiled(starts, bounds):
    batch = RaggedBatch(jnp.zeros((SEQUENCES, 1), jnp.int32), starts, bounds)
    tiles = batch.tiles(ROWS, TILE)
    return tiles, tiles.ends, batch.positions(ROWS)


@given(
    counts=st.lists(st.integers(1, 20), max_size=SEQUENCES).filter(lambda counts: sum(counts) <= ROWS),
    starts=st.lists(st.integers(0, 99), min_size=SEQUENCES, max_size=SEQUENCES),
)
def test_every_row_is_in_one_tile_of_its_sequence(counts: list[int], starts: list[int]) -> None:
    bounds = np.cumsum([0, *counts, *[0] * (SEQUENCES - len(counts))], dtype=np.int32)
    tiles, ends, positions = jax.tree.map(np.asarray, tiled(np.array(starts, np.int32), bounds))
    expected = [
        (sequence, start + first, list(range(bounds[sequence] + first, bounds[sequence] + min(first + TILE, count))))
        for sequence, (start, count) in enumerate(zip(starts, counts, strict=False))
        for first in range(0, count, TILE)
    ]
    used = [index for index, count in enumerate(tiles.counts) if count]
    actual = [(tiles.sequences[i], tiles.starts[i], tiles.rows[i, : tiles.counts[i]].tolist()) for i in used]
    assert actual == expected
    assert [ends[i] for i in used] == [start + len(rows) for _, start, rows in expected]
    assert not np.delete(ends, used).any()
    assert positions[: bounds[-1]].tolist() == [
        start + i for start, count in zip(starts, counts, strict=False) for i in range(count)
    ]
    flat = tiles.rows.ravel()
    assert flat[tiles.places[: bounds[-1]]].tolist() == list(range(bounds[-1]))
