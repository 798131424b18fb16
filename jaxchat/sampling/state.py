"""The sampling state of each slot, resident on the device and updated inside the compiled step.

`SamplingState` is the only schema of the sampling parameters. Each field says how it is stored, and how a request fills
it. The packed inputs of a prefill step, their writer and their reader follow from the fields.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxchat.types import SamplingParams

BIAS_ENTRIES = 1024  # the contract's limit on logit_bias
VOCAB = -1  # stands for V in a column's shape or first value

Read = Callable[[SamplingParams, int, int], Any]
"""`read(params, choice, vocab)` returns the value for one slot, in the column's shape."""
PackedField = tuple[str, tuple[int, ...], str]
"""Name, shape and dtype of an array in a packed buffer."""


@dataclass(frozen=True, kw_only=True)
class Column:
    """The storage of a field of `SamplingState`: an array `[S, *shape]` whose dtype has four bytes or is bool."""

    dtype: str
    shape: tuple[int, ...] = ()
    fill: int = 0  # in empty slots, and where a request's history begins
    read: Read | None = None  # from a request; None: history


def given(dtype: str, *shape: int, fill: int = 0, read: Read | None = None) -> Any:
    """Returns a field that a request fills. Arguments are as for `Column`.

    Without `read`, the value is the field of the same name in `SamplingParams`.
    """
    return field(metadata={"given": True, "column": Column(dtype=dtype, shape=shape, fill=fill, read=read)})


def history(dtype: str, *shape: int) -> Any:
    """Returns a dataclass field that starts at zero and that each step updates. Arguments are as for `Column`."""
    return field(metadata={"given": False, "column": Column(dtype=dtype, shape=shape)})


def _choice(params: SamplingParams, choice: int, vocab: int) -> int:
    return choice


def _seed_words(params: SamplingParams, choice: int, vocab: int) -> np.ndarray:
    """Returns the two halves of the 64-bit seed, high word first."""
    return np.array([params.seed >> 32, params.seed & 0xFFFFFFFF], np.uint32)


def _bias_ids(params: SamplingParams, choice: int, vocab: int) -> np.ndarray:
    ids = np.full(BIAS_ENTRIES, vocab, np.int32)
    ids[: len(params.logit_bias)] = [token for token, _ in params.logit_bias]
    return ids


def _bias_values(params: SamplingParams, choice: int, vocab: int) -> np.ndarray:
    values = np.zeros(BIAS_ENTRIES, np.float32)
    values[: len(params.logit_bias)] = [value for _, value in params.logit_bias]
    return values


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class SamplingState:
    """Sampling parameters and history of S slots over a vocabulary of V."""

    temperature: Array = given("float32")
    top_p: Array = given("float32")
    frequency_penalty: Array = given("float32")
    presence_penalty: Array = given("float32")
    seed: Array = given("uint32", 2, read=_seed_words)
    choice: Array = given("int32", read=_choice)
    step: Array = history("int32")  # tokens sampled so far
    logprobs: Array = given("bool")
    # Unused entries have id V, which every scatter drops.
    bias_ids: Array = given("int32", BIAS_ENTRIES, fill=VOCAB, read=_bias_ids)
    bias: Array = given("float32", BIAS_ENTRIES, read=_bias_values)
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
    def packed_fields() -> tuple[PackedField, ...]:
        """Returns the packed fields of one slot that a request fills. Booleans are packed as i32."""
        return tuple(
            (name, column.shape, "int32" if column.dtype == "bool" else column.dtype)
            for name, column in _columns(given_only=True)
        )

    @staticmethod
    def packed_values(params: SamplingParams, choice: int, vocab: int) -> dict[str, Any]:
        """Returns the value of each of `packed_fields`.

        Args:
            params: the sampling parameters of the request.
            choice: index of the choice.
            vocab: V, the size of the vocabulary.
        """
        return {
            name: column.read(params, choice, vocab) if column.read else getattr(params, name)
            for name, column in _columns(given_only=True)
        }

    @staticmethod
    def started(packed: Mapping[str, Array], vocab: int) -> SamplingState:
        """Returns the state of one slot at the start of a request, from the unpacked arrays of `packed_fields`."""
        values = {
            name: packed[name][None] != 0 if column.dtype == "bool" else packed[name][None]
            for name, column in _columns(given_only=True)
        }
        return replace(SamplingState.zeros(1, vocab), **values)

    def take(self, rows: Array) -> SamplingState:
        """Returns the state of the slots `rows`, i32 `[R]`, except `counts`, which keeps all S slots.

        Entries of S or more give meaningless values.
        """
        small = {name: getattr(self, name) for name, column in _columns() if VOCAB not in column.shape}
        return replace(self, **{name: leaf.at[rows].get(mode="clip") for name, leaf in small.items()})

    def advance(self, rows: Array, tokens: Array) -> SamplingState:
        """Returns the state after the slots `rows` sampled `tokens`, both i32 `[R]`.

        Entries of S or more in `rows` are ignored.
        """
        counts = self.counts.at[rows, tokens].add(1, mode="drop")
        return replace(self, step=self.step.at[rows].add(1, mode="drop"), counts=counts)


def _columns(*, given_only: bool = False) -> Iterator[tuple[str, Column]]:
    for each in fields(SamplingState):
        if each.metadata["given"] or not given_only:
            yield each.name, each.metadata["column"]


def _sized(numbers: tuple[int, ...], vocab: int) -> tuple[int, ...]:
    return tuple(vocab if number == VOCAB else number for number in numbers)
