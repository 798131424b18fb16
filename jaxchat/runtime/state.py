"""What lives on the device between steps: KV pages and one row of state per slot. Both are donated to every step."""

from __future__ import annotations

from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp
from jax import Array

from jaxchat.config import EngineConfig
from jaxchat.models.config import ModelConfig
from jaxchat.sampling.state import SamplingState


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """The resolved shape of the programs: S slots, C chunk, N pages, P pages per sequence, V vocabulary."""

    slots: int
    chunk: int
    page_size: int
    pages: int
    table: int
    context: int
    vocab: int

    @staticmethod
    def resolve(engine: EngineConfig, model: ModelConfig) -> Sizes:
        """Fills in the settings that 0 leaves to the model. Raises ValueError when they do not fit together."""
        context = engine.context or min(model.context, 8192)
        if context > model.context:
            raise ValueError(f"context must be at most the model's {model.context} tokens, got {context}")
        table = -(-context // engine.page_size)
        pages = engine.pages or engine.slots * table + 1
        if pages <= table:
            raise ValueError(f"pages must be more than {table}, enough for one context of {context}, got {pages}")
        return Sizes(
            slots=engine.slots,
            chunk=engine.chunk,
            page_size=engine.page_size,
            pages=pages,
            table=table,
            context=context,
            vocab=model.vocab_size,
        )


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class KVPages:
    """Keys and values of every layer, each `[N, page, K, d]`. Page 0 is the null page."""

    keys: tuple[Array, ...]
    values: tuple[Array, ...]

    @staticmethod
    def zeros(model: ModelConfig, sizes: Sizes, dtype: str) -> KVPages:
        shape = (sizes.pages, sizes.page_size, model.kv_heads, model.head_width)
        make = [jnp.zeros(shape, dtype) for _ in range(2 * model.layers)]
        return KVPages(tuple(make[: model.layers]), tuple(make[model.layers :]))


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class SlotState:
    """Last sampled token, its position and the page table of each slot, and what sampling needs."""

    token: Array  # i32 [S]
    position: Array  # i32 [S], where `token` goes in its sequence
    table: Array  # i32 [S, P]
    sampling: SamplingState

    @staticmethod
    def zeros(sizes: Sizes) -> SlotState:
        return SlotState(
            token=jnp.zeros(sizes.slots, jnp.int32),
            position=jnp.zeros(sizes.slots, jnp.int32),
            table=jnp.zeros((sizes.slots, sizes.table), jnp.int32),
            sampling=SamplingState.zeros(sizes.slots, sizes.vocab),
        )

    def add_pages(self, new_pages: Array, page_size: int) -> SlotState:
        """Enters `new_pages[S]` (-1: none) into the table, at the page that each slot's position falls into."""
        slots, width = self.table.shape
        column = jnp.where(new_pages >= 0, self.position // page_size, width)
        return replace(self, table=self.table.at[jnp.arange(slots), column].set(new_pages, mode="drop"))

    def advance(self, tokens: Array, active: Array) -> SlotState:
        """The slots after they sampled `tokens[S]`; rows that are not active stay as they are."""
        return replace(
            self,
            token=jnp.where(active, tokens, self.token),
            position=self.position + active,
            sampling=self.sampling.advance(tokens, active),
        )
