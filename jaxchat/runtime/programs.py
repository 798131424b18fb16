"""The two kinds of program: `prefill` computes tokens of prompts, `decode` advances some slots by one or more tokens.

Both take `(params, pages, slots, packed, bits)`. They donate pages and slots, and return the new pages and slots with a
packed output. `bits` has the allowed tokens of each row that samples, as in `jaxchat.sampling.mask.TokenMask`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from jaxchat.config import most_slices
from jaxchat.kernels.attention.backend import Attended, AttentionBackend, Cache, ModelAttention
from jaxchat.kernels.attention.ragged_batch import RaggedBatch
from jaxchat.kernels.attention.spec import AttentionSpec
from jaxchat.kernels.once import computed_once
from jaxchat.models.decoder import Decoder, hidden_states, logits_of
from jaxchat.runtime.drafts import Drafts
from jaxchat.runtime.packing import PackedLayout
from jaxchat.runtime.state import EngineShapes, KVPages, SlotState
from jaxchat.sampling.logprobs import TOP
from jaxchat.sampling.mask import TokenMask
from jaxchat.sampling.sample import Sampled, Sampler
from jaxchat.sampling.state import HistoryRows, SamplingState

Step = Callable[[Any, KVPages, SlotState, Array, Array], tuple[KVPages, SlotState, Array]]


def decode_layout(rows: int) -> PackedLayout:
    """Returns the layout of the packed inputs of `decode` for R = `rows`. Each input is i32 `[R]`.

    `slots` are slot numbers, S in unused rows. `new_pages` has the id of a page that the row's slot gets, or -1.
    `constrained` is 1 in rows with a token mask, otherwise 0. `drafts` has the values of `Drafts.tokens`.
    """
    return PackedLayout(tuple((name, (rows,), "int32") for name in ("slots", "new_pages", "constrained", "drafts")))


def prefill_layout(sizes: EngineShapes, bucket: int) -> PackedLayout:
    """Returns the layout of the packed inputs of `prefill` for T = `bucket` tokens of up to B slices.

    `tokens`, i32 `[T]`, has the tokens of one slice after the other. `bounds`, i32 `[B + 1]`, has the index of each
    slice's first token, and then the number of all tokens.

    The other inputs have an entry for each slice. `starts` has the position of the slice's first token in the prompt,
    and `tables` has the page table. `slots` has the slot if the slice is the last one of its prompt, otherwise S.
    `constrained` is 1 if the slice has a token mask, otherwise 0. All remaining inputs are sampling parameters.
    """
    slices = most_slices(bucket)
    scalars = [(name, (slices,), "int32") for name in ("slots", "starts", "constrained")]
    arrays = [
        ("tokens", (bucket,), "int32"),
        ("bounds", (slices + 1,), "int32"),
        ("tables", (slices, sizes.table), "int32"),
    ]
    sampling = [(name, (slices, *shape), dtype) for name, shape, dtype in SamplingState.packed_fields(sizes.vocab)]
    return PackedLayout((*scalars, *sampling, *arrays))


def output_layout(rows: int, vocab: int) -> PackedLayout:
    """Returns the layout of the packed outputs: a row for each slice of `prefill`, or for each row of `decode`."""
    row, top = (rows,), (rows, min(TOP, vocab))
    return PackedLayout(
        (
            ("tokens", row, "int32"),
            ("finite", row, "int32"),
            ("logprobs", row, "float32"),
            ("top_ids", top, "int32"),
            ("top_logprobs", top, "float32"),
        )
    )


def decode_program(
    decoder: Decoder, sizes: EngineShapes, sampler: Sampler, attention: ModelAttention, rows: int
) -> Step:
    """Builds the program `decode[R]` for R = `rows`. It samples one token in each row.

    A slot advances by as many tokens as it has accepted rows (`jaxchat.runtime.drafts`). Slots without rows keep their
    state.
    """
    layout = decode_layout(rows)

    def decode(
        params: Any, pages: KVPages, slots: SlotState, packed: Array, bits: Array
    ) -> tuple[KVPages, SlotState, Array]:
        given = layout.unpack(packed)
        named = given["slots"]
        active = named < sizes.slots
        drafts = Drafts.of(given["drafts"])
        slots = slots.add_pages(named, drafts.index, given["new_pages"], sizes.page_size)
        here = slots.take(named, drafts)
        where, lengths = computed_once(partial(_places, sizes), here.position, here.table, active), here.position + 1
        cache = _Cache(
            pages,
            attention,
            write=lambda backend, held, k, v: backend.write_tokens(held, k, v, *where),
            read=lambda backend, q, held, form: backend.decode(q, held, here.table, lengths, active, form),
        )
        hidden = hidden_states(decoder, params, here.token, here.position, cache.attend)
        logits = logits_of(decoder, params, hidden)
        token_mask = TokenMask(given["constrained"] != 0, bits)
        history = HistoryRows(named, drafts.before(sizes.vocab))
        sampled = sampler(logits, here.sampling, active, token_mask=token_mask, history=history)
        accepted = drafts.accepted(sampled.tokens)
        advanced = slots.advance(
            jnp.where(accepted, named, sizes.slots), sampled.tokens, drafts.last_accepted(accepted)
        )
        return cache.pages, advanced, _packed(sampled)

    return decode


def _places(sizes: EngineShapes, position: Array, table: Array, active: Array) -> tuple[Array, Array]:
    """Returns the page of each row's token, and the token's place in the page. The page is N in unused rows."""
    column = (position // sizes.page_size)[:, None]
    page = jnp.take_along_axis(table, column, axis=1, mode="clip")[:, 0]
    return jnp.where(active, page, sizes.pages), position % sizes.page_size


def prefill_program(
    decoder: Decoder, sizes: EngineShapes, sampler: Sampler, attention: ModelAttention, bucket: int
) -> Step:
    """Builds the program `prefill[T]` for T = `bucket`. It writes the keys and values of its tokens.

    The program also samples the first new token of each prompt that ends in the step.
    """
    layout = prefill_layout(sizes, bucket)

    def prefill(
        params: Any, pages: KVPages, slots: SlotState, packed: Array, bits: Array
    ) -> tuple[KVPages, SlotState, Array]:
        given = layout.unpack(packed)
        batch = RaggedBatch(given["tables"], given["starts"], given["bounds"])
        cache = _Cache(
            pages,
            attention,
            write=_page_writer(batch, sizes, bucket),
            read=lambda backend, q, held, form: backend.prefill(q, held, batch, form),
        )
        hidden = hidden_states(decoder, params, given["tokens"], batch.positions(bucket), cache.attend)
        fresh, active = _fresh_rows(given, batch, sizes), given["slots"] < sizes.slots

        def sample() -> Array:
            # At least two rows, see `most_slices`: XLA:CPU has a slow path for products with a single bf16 row.
            logits = logits_of(decoder, params, hidden[batch.bounds[1:] - 1])
            token_mask = TokenMask(given["constrained"] != 0, bits)
            return _packed(sampler(logits, fresh.sampling, active, token_mask=token_mask))

        output = output_layout(len(active), sizes.vocab)
        sampled = jax.lax.cond(jnp.any(active), sample, lambda: jnp.zeros(output.size, jnp.int32))
        slots = slots.put_rows(given["slots"], fresh)
        return cache.pages, slots.advance(given["slots"], output.unpack(sampled)["tokens"], active), sampled

    return prefill


def _page_writer(
    batch: RaggedBatch, sizes: EngineShapes, bucket: int
) -> Callable[[AttentionBackend, Cache, Array, Array], Cache]:
    """Returns a function that writes the keys and values of a batch of `bucket` rows, page by page.

    Entries of a page after the last token of a sequence get meaningless values. The null page is never written.
    """

    def places(batch: RaggedBatch) -> tuple[Array, Array]:
        tiles = batch.tiles(bucket, sizes.page_size)
        page_ids = batch.tables[tiles.sequences, jnp.minimum(tiles.starts // sizes.page_size, sizes.table - 1)]
        return tiles.rows.ravel(), jnp.where((tiles.counts > 0) & (page_ids > 0), page_ids, sizes.pages)

    rows, page_ids = computed_once(places, batch)
    return lambda backend, held, k, v: backend.write_chunk(held, k[rows], v[rows], page_ids)


@dataclass
class _Cache:
    """The KV pages, replaced layer by layer while the decoder is traced."""

    pages: KVPages
    attention: ModelAttention
    write: Callable[[AttentionBackend, Cache, Array, Array], Cache]
    read: Callable[[AttentionBackend, Array, Cache, AttentionSpec], Attended]
    written: set[int] = field(default_factory=set)

    def attend(self, layer: int, q: Array, k: Array, v: Array, form: AttentionSpec) -> Array:
        backend = self.attention.of(layer)
        if layer not in self.written:
            self._replace(layer, self.write(backend, self.pages.layers[layer], k, v))
            self.written.add(layer)
        attended = self.read(backend, q, self.pages.layers[layer], form)
        if isinstance(attended, tuple):
            attended, cache = attended
            self._replace(layer, cache)
        return attended

    def _replace(self, layer: int, cache: Cache) -> None:
        held = self.pages.layers
        self.pages = KVPages((*held[:layer], cache, *held[layer + 1 :]))


def _fresh_rows(given: dict[str, Array], batch: RaggedBatch, sizes: EngineShapes) -> SlotState:
    """Returns the state of slots before their first sampled tokens, with the positions of the prompts' last tokens."""
    last = batch.starts + batch.counts - 1
    return SlotState(jnp.zeros_like(last), last, batch.tables, SamplingState.started(given, sizes.vocab))


def _packed(sampled: Sampled) -> Array:
    """Returns the i32 buffer that `output_layout` describes."""
    report = sampled.logprobs
    fields = (sampled.tokens, sampled.finite.astype(jnp.int32), report.sampled, report.top_ids, report.top)
    return jnp.concatenate([jax.lax.bitcast_convert_type(field, jnp.int32).ravel() for field in fields])
