"""The two kinds of program: `prefill` computes tokens of one prompt, `decode` advances some slots by tokens.

Both take `(params, pages, slots, packed, bits)`, donate pages and slots, and return them with a packed output. `bits`
has the allowed tokens of each row that samples, as in `jaxchat.sampling.mask.TokenMask`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from jaxchat.kernels.attention.backend import AttentionBackend, Cache, ModelAttention
from jaxchat.kernels.attention.spec import AttentionSpec
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

    `slots` are slot numbers, S in unused rows. `new_pages` are the ids of pages that were just added, or -1.
    `constrained` is 1 in rows with a token mask, otherwise 0. `drafts` are those of `Drafts.tokens`.
    """
    return PackedLayout(tuple((name, (rows,), "int32") for name in ("slots", "new_pages", "constrained", "drafts")))


def prefill_layout(sizes: EngineShapes, bucket: int) -> PackedLayout:
    """Returns the layout of the packed inputs of `prefill` for `bucket` tokens.

    The inputs are the tokens, their positions and pages, and all sampling parameters.
    """
    scalars = [(name, (), "int32") for name in ("slot", "start", "count", "last", "constrained")]
    arrays = [
        ("tokens", (bucket,), "int32"),
        ("chunk_pages", (bucket // sizes.page_size,), "int32"),
        ("table", (sizes.table,), "int32"),
    ]
    return PackedLayout((*scalars, *SamplingState.packed_fields(sizes.vocab), *arrays))


def output_layout(rows: int, vocab: int) -> PackedLayout:
    """Returns the layout of the packed outputs of either program: one row after `prefill`, R after `decode`."""
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

    Each slot that a row names advances by its accepted rows (`jaxchat.runtime.drafts`). Other slots keep their state.
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
        column = (here.position // sizes.page_size)[:, None]
        page = jnp.take_along_axis(here.table, column, axis=1, mode="clip")[:, 0]
        page = jnp.where(active, page, sizes.pages)
        offset, lengths = here.position % sizes.page_size, here.position + 1
        cache = _Cache(
            pages,
            attention,
            write=lambda backend, held, k, v: backend.write_tokens(held, k, v, page, offset),
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


def prefill_program(
    decoder: Decoder, sizes: EngineShapes, sampler: Sampler, attention: ModelAttention, bucket: int
) -> Step:
    """Builds the program `prefill[T]` for T = `bucket`. It writes the keys and values of its tokens.

    In the last step of a prompt, the program also samples the first new token.
    """
    layout = prefill_layout(sizes, bucket)

    def prefill(
        params: Any, pages: KVPages, slots: SlotState, packed: Array, bits: Array
    ) -> tuple[KVPages, SlotState, Array]:
        given = layout.unpack(packed)
        start, count = given["start"], given["count"]
        cache = _Cache(
            pages,
            attention,
            write=lambda backend, held, k, v: backend.write_chunk(held, k, v, given["chunk_pages"]),
            read=lambda backend, q, held, form: backend.prefill(q, held, given["table"], start, form),
        )
        positions = start + jnp.arange(bucket)
        hidden = hidden_states(decoder, params, given["tokens"], positions, cache.attend)
        fresh = _fresh_row(given, sizes)

        def finish(row: SlotState) -> tuple[SlotState, Array]:
            # Two rows, not one: XLA:CPU has a slow path for products with a single bf16 row.
            final = jnp.broadcast_to(hidden[count - 1], (2, hidden.shape[-1]))
            logits = logits_of(decoder, params, final)[:1]
            active = jnp.ones(1, bool)
            sampled = sampler(logits, row.sampling, active, token_mask=TokenMask(given["constrained"][None] != 0, bits))
            return row.advance(jnp.zeros(1, jnp.int32), sampled.tokens, active), _packed(sampled)

        def go_on(row: SlotState) -> tuple[SlotState, Array]:
            return row, jnp.zeros(output_layout(1, sizes.vocab).size, jnp.int32)

        row, output = jax.lax.cond(given["last"] != 0, finish, go_on, fresh)
        return cache.pages, slots.put(given["slot"], row), output

    return prefill


@dataclass
class _Cache:
    """The KV pages, replaced layer by layer while the decoder is traced."""

    pages: KVPages
    attention: ModelAttention
    write: Callable[[AttentionBackend, Cache, Array, Array], Cache]
    read: Callable[[AttentionBackend, Array, Cache, AttentionSpec], Array]
    written: set[int] = field(default_factory=set)

    def attend(self, layer: int, q: Array, k: Array, v: Array, form: AttentionSpec) -> Array:
        backend = self.attention.of(layer)
        if layer not in self.written:
            held = self.pages.layers
            self.pages = KVPages((*held[:layer], self.write(backend, held[layer], k, v), *held[layer + 1 :]))
            self.written.add(layer)
        return self.read(backend, q, self.pages.layers[layer], form)


def _fresh_row(given: dict[str, Array], sizes: EngineShapes) -> SlotState:
    """Returns the state of a slot before its first sampled token, with the position of the prompt's last token."""
    last = (given["start"] + given["count"] - 1)[None]
    sampling = SamplingState.started(given, sizes.vocab)
    return SlotState(jnp.zeros(1, jnp.int32), last, given["table"][None], sampling)


def _packed(sampled: Sampled) -> Array:
    """Returns the i32 buffer that `output_layout` describes."""
    report = sampled.logprobs
    fields = (sampled.tokens, sampled.finite.astype(jnp.int32), report.sampled, report.top_ids, report.top)
    return jnp.concatenate([jax.lax.bitcast_convert_type(field, jnp.int32).ravel() for field in fields])
