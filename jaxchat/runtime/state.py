"""The device state between steps: KV pages and one row of state per slot. Both are donated to every step.

Letters: R rows of a step. C, N, P, S and V are as in `EngineShapes`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp
from jax import Array

from jaxchat.arithmetic import cdiv
from jaxchat.config import EngineConfig
from jaxchat.kernels.attention.backend import Cache, ModelAttention
from jaxchat.models.config import ModelConfig
from jaxchat.parallel.mesh import Placement
from jaxchat.runtime.drafts import Drafts
from jaxchat.sampling.state import SamplingState


@dataclass(frozen=True, kw_only=True)
class EngineShapes:
    """The resolved shapes of the programs: S slots, N pages with the null page, V vocabulary.

    `table` is P, the maximum number of pages of a sequence. `page_size` and `max_seq_len` are in tokens.
    `prefill_buckets` holds the sizes of prefill steps in tokens, in ascending order, each a multiple of the first.
    """

    slots: int
    prefill_buckets: tuple[int, ...]
    page_size: int
    pages: int
    table: int
    max_seq_len: int
    vocab: int

    @staticmethod
    def resolve(engine: EngineConfig, model: ModelConfig) -> EngineShapes:
        """Returns the shapes of an engine's programs, with defaults for settings that are None.

        Raises:
            ValueError: `max_seq_len` is more than the model's, or `pages` is too small for one sequence of that length.
        """
        context = engine.max_seq_len or min(model.max_seq_len, 8192)
        if context > model.max_seq_len:
            raise ValueError(f"max_seq_len must be at most the model's {model.max_seq_len} tokens, got {context}")
        table = cdiv(context, engine.page_size)
        pages = engine.pages or engine.slots * table + 1
        if pages <= table:
            raise ValueError(
                f"pages must be more than {table}, enough for one sequence of {context} tokens, got {pages}"
            )
        return EngineShapes(
            slots=engine.slots,
            prefill_buckets=tuple(
                size for size in engine.prefill_sizes if size == engine.prefill_chunk or size <= context
            ),
            page_size=engine.page_size,
            pages=pages,
            table=table,
            max_seq_len=context,
            vocab=model.vocab_size,
        )

    @property
    def chunk(self) -> int:
        """C, the size of the smallest prefill step in tokens."""
        return self.prefill_buckets[0]


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class KVPages:
    """Keys and values of every layer, in the layout of the attention backend. Page 0 is the null page.

    A layer that uses the keys and values of an earlier layer has no arrays.
    """

    layers: tuple[Cache, ...]

    @staticmethod
    def zeros(attention: ModelAttention, sizes: EngineShapes) -> KVPages:
        layers = attention.shapes(sizes.pages)
        return KVPages(tuple(tuple(jnp.zeros(each.shape, each.dtype) for each in shapes) for shapes in layers))


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class SlotState:
    """The state of S slots: the last sampled token, its position, the page table and the sampling state."""

    token: Array  # i32 [S]
    position: Array  # i32 [S], where `token` goes in its sequence
    table: Array  # i32 [S, P]
    sampling: SamplingState

    @staticmethod
    def zeros(sizes: EngineShapes) -> SlotState:
        return SlotState(
            token=jnp.zeros(sizes.slots, jnp.int32),
            position=jnp.zeros(sizes.slots, jnp.int32),
            table=jnp.zeros((sizes.slots, sizes.table), jnp.int32),
            sampling=SamplingState.zeros(sizes.slots, sizes.vocab),
        )

    def take(self, rows: Array, drafts: Drafts) -> SlotState:
        """Returns a state for each row of a decode step. `prompt` and `counts` of `sampling` keep all S slots.

        The first row of a sequence has the token, position and sampling step of its slot. The row with the sequence's
        i-th draft has this draft as its token. Its position and its sampling step are those of the slot plus i.

        Args:
            rows: i32 `[R]`, the slot of each row; entries of S or more give meaningless values.
            drafts: the drafts of the rows.
        """
        token, position, table = (leaf.at[rows].get(mode="clip") for leaf in (self.token, self.position, self.table))
        token = jnp.where(drafts.index > 0, drafts.tokens, token)
        return SlotState(token, position + drafts.index, table, self.sampling.take(rows, drafts.index))

    def add_pages(self, rows: Array, ahead: Array, new_pages: Array, page_size: int) -> SlotState:
        """Returns the slots with new pages in their tables.

        Args:
            rows: i32 `[R]`, slots; entries of S or more are ignored.
            ahead: i32 `[R]`, tokens from a slot's position to the token that needs the new page.
            new_pages: i32 `[R]`, page ids; -1 adds nothing.
            page_size: tokens of a page.
        """
        column = (self.position.at[rows].get(mode="clip") + ahead) // page_size
        column = jnp.where(new_pages >= 0, column, self.table.shape[1])
        return replace(self, table=self.table.at[rows, column].set(new_pages, mode="drop"))

    def advance(self, rows: Array, tokens: Array, last: Array) -> SlotState:
        """Returns the state after the slots `rows` sampled `tokens`, both i32 `[R]`.

        A slot may be in several rows. `last`, bool `[R]`, marks the row with the slot's newest token. Slots that are in
        no row are unchanged. Entries of S or more in `rows` are ignored.
        """
        return replace(
            self,
            token=self.token.at[jnp.where(last, rows, len(self.token))].set(tokens, mode="drop"),
            position=self.position.at[rows].add(1, mode="drop"),
            sampling=self.sampling.advance(rows, tokens),
        )

    def row(self, slot: Array) -> SlotState:
        """Returns the whole state of slot `slot` (i32 scalar), with S = 1."""
        return jax.tree.map(lambda leaf: jax.lax.dynamic_slice_in_dim(leaf, slot, 1), self)

    def put(self, slot: Array, row: SlotState) -> SlotState:
        """Returns the state with slot `slot` (i32 scalar) replaced by `row` (S = 1)."""
        return jax.tree.map(lambda all_, row: jax.lax.dynamic_update_slice_in_dim(all_, row, slot, 0), self, row)

    def put_rows(self, slots: Array, rows: SlotState) -> SlotState:
        """Returns the state with each slot of `slots`, i32 `[R]`, replaced by a row of `rows` (S = R).

        Entries of S or more are ignored.
        """
        return jax.tree.map(lambda all_, rows: all_.at[slots].set(rows, mode="drop"), self, rows)


def slot_shardings(slots: SlotState, placement: Placement) -> SlotState:
    """Returns the sharding of each array of the slots.

    Counts `[S, V]` are split by vocabulary, as logits are. All other arrays are replicated.
    """
    shardings = jax.tree.map(lambda leaf: placement.replicated, slots)
    counts = placement.sharding((None, "vocab"), slots.sampling.counts.shape)
    return replace(shardings, sampling=replace(shardings.sampling, counts=counts))
