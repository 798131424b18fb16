"""Swaps sequences to host memory and back: a slot's state, and the contents of its pages a block at a time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import numpy as np
from jax import Array

from jaxchat.arithmetic import cdiv
from jaxchat.config import BLOCK
from jaxchat.kernels.attention.backend import AttentionBackend
from jaxchat.parallel.distributed import put, put_part, take_part
from jaxchat.parallel.mesh import Placement
from jaxchat.runtime.state import EngineShapes, KVPages, SlotState
from jaxchat.types import SwapInWork, SwapOutWork, Swapped


@dataclass(frozen=True)
class PendingSwapOut:
    """A sequence on its way to the host."""

    row: SlotState
    blocks: tuple[KVPages, ...]

    def wait(self) -> Swapped:
        """Blocks until the whole sequence has arrived, and returns it."""
        return Swapped(*take_part((self.row, self.blocks)))


class Swapper:
    """Four small programs of fixed shape: read and write a slot, read and write a block of pages."""

    def __init__(
        self, pages: KVPages, slots: SlotState, sizes: EngineShapes, placement: Placement, attention: AttentionBackend
    ) -> None:
        """Lowers the programs. They must be compiled into `programs` before use."""
        self._width = BLOCK // sizes.page_size
        self._sizes, self._placement, self._paged = sizes, placement, placement.pages(attention)
        read, write = partial(_read_pages, axis=attention.page_axis), partial(_write_pages, axis=attention.page_axis)
        at = jax.ShapeDtypeStruct((), np.int32, sharding=placement.replicated)
        ids = jax.ShapeDtypeStruct((self._width,), np.int32, sharding=placement.replicated)
        table = jax.ShapeDtypeStruct((sizes.table,), np.int32, sharding=placement.replicated)
        row = _placed(jax.eval_shape(_read_row, slots, at), placement.replicated)
        block = _placed(jax.eval_shape(read, pages, ids), self._paged)
        self.lowered = {
            "read row": _lower(_read_row, slots, at, out=row),
            "write row": _lower(_write_row, slots, at, row, table, out=slots, donate=0),
            "read pages": _lower(read, pages, ids, out=block),
            "write pages": _lower(write, pages, ids, block, out=pages, donate=0),
        }
        self.programs: dict[str, Any] = {}

    def read(self, pages: KVPages, slots: SlotState, work: SwapOutWork) -> PendingSwapOut:
        """Dispatches copies of the slot and the pages of `work` to the host. Later steps cannot change the copies."""
        row = self.programs["read row"](slots, self._put(np.int32(work.slot)))
        blocks = tuple(self.programs["read pages"](pages, ids) for ids in self._blocks(work.pages))
        for leaf in jax.tree.leaves((row, blocks)):
            leaf.copy_to_host_async()
        return PendingSwapOut(row, blocks)

    def write(self, pages: KVPages, slots: SlotState, work: SwapInWork) -> tuple[KVPages, SlotState]:
        """Returns pages and slots with the sequence of `work` restored; shared pages are not written.

        `pages` and `slots` are donated.
        """
        table = np.zeros(self._sizes.table, np.int32)
        table[: len(work.pages)] = work.pages
        row = put_part(work.swapped.row, self._placement.replicated)
        slots = self.programs["write row"](slots, self._put(np.int32(work.slot)), row, self._put(table))
        restored = np.where(np.arange(len(work.pages)) < work.shared_pages, self._sizes.pages, work.pages).astype(
            np.int32
        )
        for ids, block in zip(self._blocks(restored), work.swapped.blocks, strict=True):
            pages = self.programs["write pages"](pages, ids, put_part(block, self._paged))
        return pages, slots

    def _blocks(self, ids: np.ndarray) -> list[Array]:
        """Returns `ids`, i32 `[n]`, in blocks of a fixed size, padded with N.

        No page has the id N. Reading it returns an arbitrary page, and writing to it has no effect.
        """
        padded = np.full(cdiv(len(ids), self._width) * self._width, self._sizes.pages, np.int32)
        padded[: len(ids)] = ids
        return [self._put(block) for block in padded.reshape(-1, self._width)]

    def _put(self, values: np.ndarray | np.int32) -> Array:
        return put(values, self._placement.replicated)


def _read_row(slots: SlotState, slot: Array) -> SlotState:
    return slots.row(slot)


def _write_row(slots: SlotState, slot: Array, row: SlotState, table: Array) -> SlotState:
    return slots.put(slot, SlotState(row.token, row.position, table[None], row.sampling))


def _read_pages(pages: KVPages, ids: Array, *, axis: int) -> KVPages:
    return jax.tree.map(lambda array: array.at[_at(axis, ids)].get(mode="clip"), pages)


def _write_pages(pages: KVPages, ids: Array, block: KVPages, *, axis: int) -> KVPages:
    return jax.tree.map(lambda array, new: array.at[_at(axis, ids)].set(new, mode="drop"), pages, block)


def _at(axis: int, ids: Array) -> tuple[slice | Array, ...]:
    return (*[slice(None)] * axis, ids)


def _placed(tree: Any, sharding: jax.sharding.Sharding) -> Any:
    return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding), tree)


def _lower(function: Callable[..., Any], *args: Any, out: Any, donate: int | None = None) -> Any:
    shardings = jax.tree.map(lambda leaf: leaf.sharding, out)
    return jax.jit(function, donate_argnums=donate, out_shardings=shardings).lower(*args)
