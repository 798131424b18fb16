"""The sampling state of each slot, resident on the device and updated inside the compiled step.

`SamplingState` is the only schema of the sampling parameters. Each field says how it is stored, and how a request fills
it. The packed inputs of a prefill step, their writer and their reader follow from the fields.

Letters: S slots, V tokens in the vocabulary, R rows of a step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxchat.arithmetic import token_bits
from jaxchat.sampling.mask import mask_words
from jaxchat.types import SamplingParams

BIAS_ENTRIES = 1024  # the contract's limit on logit_bias
VOCAB, WORDS = -1, -2  # stand for V and ceil(V / 32) in a column's shape or fill
_WIDE = {VOCAB, WORDS}


@dataclass(frozen=True)
class SlotInput:
    """The data from which the columns of a slot are filled when a request starts."""

    params: SamplingParams
    choice: int
    vocab: int
    prompt: np.ndarray | None  # i32 [tokens]; None: the columns do not depend on it


Read = Callable[[SlotInput], Any]
"""Returns the value for one slot, in the column's shape."""
PackedField = tuple[str, tuple[int, ...], str]
"""Name, shape and dtype of an array in a packed buffer."""


@dataclass(frozen=True, kw_only=True)
class Column:
    """The storage of a field of `SamplingState`: an array `[S, *shape]` whose dtype has four bytes or is bool."""

    dtype: str
    shape: tuple[int, ...] = ()
    fill: int = 0  # in empty slots, and where a request's history begins
    read: Read | None = None  # the value for a request; None: the parameter of the same name, or history


def given(dtype: str, *shape: int, fill: int = 0, read: Read | None = None) -> Any:
    """Returns a dataclass field that a request fills. Arguments are as for `Column`.

    Without `read`, the value is the field of the same name in `SamplingParams`.
    """
    return field(metadata={"given": True, "column": Column(dtype=dtype, shape=shape, fill=fill, read=read)})


def history(dtype: str, *shape: int) -> Any:
    """Returns a dataclass field that starts at zero and that each step updates. Arguments are as for `Column`."""
    return field(metadata={"given": False, "column": Column(dtype=dtype, shape=shape)})


def _choice(slot: SlotInput) -> int:
    return slot.choice


def _top_k(slot: SlotInput) -> int:
    return min(slot.params.top_k, slot.vocab) if slot.params.top_k > 0 else slot.vocab


def _seed_words(slot: SlotInput) -> np.ndarray:
    """Returns the two halves of the 64-bit seed, high word first, u32 `[2]`."""
    return np.array([slot.params.seed >> 32, slot.params.seed & 0xFFFFFFFF], np.uint32)


def _bias_ids(slot: SlotInput) -> np.ndarray:
    ids = np.full(BIAS_ENTRIES, slot.vocab, np.int32)
    ids[: len(slot.params.logit_bias)] = [token for token, _ in slot.params.logit_bias]
    return ids


def _bias_values(slot: SlotInput) -> np.ndarray:
    values = np.zeros(BIAS_ENTRIES, np.float32)
    values[: len(slot.params.logit_bias)] = [value for _, value in slot.params.logit_bias]
    return values


def _prompt_bits(slot: SlotInput) -> np.ndarray | int:
    return 0 if slot.prompt is None else token_bits(slot.prompt, slot.vocab)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class HistoryRows:
    """The history of each of R rows: the history of its slot, followed by the drafts before the row's sample."""

    slots: Array  # i32 [R]; S or more: the row's history is meaningless
    sampled: Array  # i32 [R, D], the drafts; V where there are fewer than D


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class SamplingState:
    """Sampling parameters and history of S slots over a vocabulary of V.

    Each field is an array `[S, ...]`. Its definition states the dtype and the other axes.
    """

    temperature: Array = given("float32")
    top_p: Array = given("float32")
    frequency_penalty: Array = given("float32")
    presence_penalty: Array = given("float32")
    repetition_penalty: Array = given("float32", fill=1)
    top_k: Array = given("int32", fill=VOCAB, read=_top_k)  # V: all tokens
    min_p: Array = given("float32")
    seed: Array = given("uint32", 2, read=_seed_words)
    choice: Array = given("int32", read=_choice)
    step: Array = history("int32")  # tokens sampled so far
    logprobs: Array = given("bool")
    # Unused entries have id V, which every scatter drops.
    bias_ids: Array = given("int32", BIAS_ENTRIES, fill=VOCAB, read=_bias_ids)
    bias: Array = given("float32", BIAS_ENTRIES, read=_bias_values)
    # The tokens of the prompt, one bit each. Empty unless there is a repetition penalty.
    prompt: Array = given("uint32", WORDS, read=_prompt_bits)
    # How often each token was sampled in this choice; the prompt does not count.
    counts: Array = history("int32", VOCAB)

    @staticmethod
    def zeros(slots: int, vocab: int) -> SamplingState:
        """Returns the state of `slots` empty slots. No two leaves share a buffer, so that all can be donated."""
        return SamplingState(
            **{
                name: jnp.full((slots, *_sized(column.shape, vocab)), _sized((column.fill,), vocab)[0], column.dtype)
                for name, column in _columns()
            }
        )

    @staticmethod
    def packed_fields(vocab: int) -> tuple[PackedField, ...]:
        """Returns the packed fields of one slot that a request fills. Booleans are packed as i32."""
        return tuple(
            (name, _sized(column.shape, vocab), "int32" if column.dtype == "bool" else column.dtype)
            for name, column in _columns(given_only=True)
        )

    @staticmethod
    def packed_values(
        params: SamplingParams, choice: int, vocab: int, prompt: np.ndarray | None = None
    ) -> dict[str, Any]:
        """Returns a value for each of `packed_fields` by name. A value may be smaller than its field's shape.

        The writer of the packed buffer broadcasts such a value.

        Args:
            params: the sampling parameters of the request.
            choice: index of the choice.
            vocab: V, the size of the vocabulary.
            prompt: i32 `[tokens]`; None without a repetition penalty.
        """
        slot = SlotInput(params, choice, vocab, prompt)
        return {
            name: column.read(slot) if column.read else getattr(params, name)
            for name, column in _columns(given_only=True)
        }

    @staticmethod
    def started(packed: Mapping[str, Array], vocab: int) -> SamplingState:
        """Returns the state of R slots at the start of their requests.

        Args:
            packed: the unpacked arrays of `packed_fields` by name, each with a first axis of R.
            vocab: V, the size of the vocabulary.
        """
        values = {
            name: packed[name] != 0 if column.dtype == "bool" else packed[name]
            for name, column in _columns(given_only=True)
        }
        return replace(SamplingState.zeros(len(values["choice"]), vocab), **values)

    def take(self, rows: Array, ahead: Array) -> SamplingState:
        """Returns the state of R rows, except `prompt` and `counts`, which keep all S slots.

        Args:
            rows: i32 `[R]`, the slot of each row; entries of S or more give meaningless values.
            ahead: i32 `[R]`, the number of drafts before each row's sample. It is added to the slot's step.
        """
        taken = self._gathered(rows, wide=False)
        return replace(taken, step=taken.step + ahead)

    def take_wide(self, rows: HistoryRows) -> SamplingState:
        """Returns the state with the `prompt` and `counts` of R rows. Counts include the row's drafts.

        Other fields keep all S slots. Complements `take`.
        """
        taken = self._gathered(rows.slots, wide=True)
        sampled = rows.sampled
        return replace(taken, counts=taken.counts.at[jnp.arange(len(sampled))[:, None], sampled].add(1, mode="drop"))

    def _gathered(self, rows: Array, *, wide: bool) -> SamplingState:
        names = [name for name, column in _columns() if bool(_WIDE & {*column.shape}) == wide]
        return replace(self, **{name: getattr(self, name).at[rows].get(mode="clip") for name in names})

    def advance(self, rows: Array, tokens: Array) -> SamplingState:
        """Returns the state after the slots numbered in `rows` sampled `tokens`, both i32 `[R]`.

        A slot that `rows` has several times advances once for each. Numbers of S or more are ignored. The result has
        all S slots, unlike that of `take`.
        """
        counts = self.counts.at[rows, tokens].add(1, mode="drop")
        return replace(self, step=self.step.at[rows].add(1, mode="drop"), counts=counts)


def _columns(*, given_only: bool = False) -> Iterator[tuple[str, Column]]:
    for each in fields(SamplingState):
        if each.metadata["given"] or not given_only:
            yield each.name, each.metadata["column"]


def _sized(numbers: tuple[int, ...], vocab: int) -> tuple[int, ...]:
    sizes = {VOCAB: vocab, WORDS: mask_words(vocab)}
    return tuple(sizes.get(number, number) for number in numbers)
