"""Values that cross layers: plain Python and NumPy, no device arrays, no protobuf."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import numpy as np

Progress = Callable[[int, int], None]
"""`progress(done, total)` while something long is under way."""
Report = Callable[[str, int, int], None]
"""`report(stage, done, total)` while a model is loaded: its weights, kernels and programs."""
Finish = Literal["stop", "length", "numerical_error", "grammar_error", "engine_failure"]


class Constraint(Protocol):
    """Which tokens may come next in one choice; used by one thread at a time."""

    def fill(self, row: np.ndarray) -> None:
        """Writes the allowed tokens as bits: u32 `[V / 32]`, bit j % 32 of word j // 32 for token j.

        May raise when the grammar cannot be followed any further; that ends the choice with an error.
        """

    def accept(self, token: int) -> None:
        """Takes in the sampled token. Raises ValueError when it was not allowed."""


class Grammar(Protocol):
    """A language that answers must be in."""

    def start(self) -> Constraint:
        """A constraint at the beginning of an answer; cheap."""


@dataclass(frozen=True, kw_only=True)
class SamplingParams:
    """How one choice is sampled; the fields are those of the chat contract, validated there."""

    temperature: float = 1.0
    top_p: float = 1.0
    frequency_penalty: float = 0.0
    presence_penalty: float = 0.0
    seed: int = 0  # 64 bits, unsigned
    logprobs: bool = False
    logit_bias: tuple[tuple[int, float], ...] = ()


@dataclass(frozen=True, kw_only=True)
class GenerateRequest:
    """A tokenised prompt of which `choices` continuations are wanted."""

    prompt: np.ndarray  # i32 [tokens]
    max_tokens: int
    choices: int = 1
    sampling: SamplingParams = field(default_factory=SamplingParams)
    stop_tokens: frozenset[int] = frozenset()
    grammar: Grammar | None = None


@dataclass(frozen=True)
class TopLogprobs:
    """The most likely tokens of one position, falling: ids i32 `[k]`, log-probabilities f32 `[k]`."""

    ids: np.ndarray
    values: np.ndarray


@dataclass(frozen=True)
class TokenEvent:
    """One sampled token of one choice. A finish that is an error or failure carries no token (-1)."""

    request: int
    choice: int
    token: int
    finish: Finish | None = None
    logprob: float = 0.0
    top: TopLogprobs | None = None


@dataclass(frozen=True)
class PrefillWork:
    """One chunk of one prompt: `tokens` i32 `[<= C]` at positions from `start`, which is a multiple of C.

    `pages` i32 are all pages that the sequence holds, in order. The last chunk also samples the first token, of those
    that `token_mask` u32 `[1, V / 32]` has bits for, if it is given.
    """

    slot: int
    tokens: np.ndarray
    start: int
    last: bool
    pages: np.ndarray
    choice: int
    sampling: SamplingParams
    token_mask: np.ndarray | None = None


@dataclass(frozen=True)
class DecodeWork:
    """One token for each of n slots: `slots` i32 `[n]`; `new_pages` i32 `[n]`, a page just added or -1.

    Where a row is `constrained` (bool `[n]`), `token_mask` u32 `[n, V / 32]` has the bits of the tokens it may sample.
    """

    slots: np.ndarray
    new_pages: np.ndarray
    constrained: np.ndarray | None = None
    token_mask: np.ndarray | None = None


@dataclass(frozen=True)
class Swapped:
    """A sequence on the host: its slot's state and the contents of its pages, as the runner that made them has them."""

    row: Any
    blocks: tuple[Any, ...]


@dataclass(frozen=True)
class SwapOutWork:
    """Copies a slot's state and the contents of `pages` i32 to the host; others may have both from the next step on."""

    slot: int
    pages: np.ndarray


@dataclass(frozen=True)
class SwapInWork:
    """Puts a sequence back, bit for bit. `pages` i32 are all it holds now; the first `kept` have their contents."""

    slot: int
    pages: np.ndarray
    shared_pages: int
    swapped: Swapped


Work = PrefillWork | DecodeWork | SwapOutWork | SwapInWork


@dataclass(frozen=True)
class StepResult:
    """What a step sampled, row by row: n rows after a decode of n slots, one after a prefill."""

    tokens: np.ndarray  # i32 [rows]
    finite: np.ndarray  # bool [rows]
    logprobs: np.ndarray  # f32 [rows]
    top_ids: np.ndarray  # i32 [rows, k]
    top_logprobs: np.ndarray  # f32 [rows, k]


Outcome = StepResult | Swapped | None
"""What a step leaves for the host: tokens, a sequence that was swapped out, or nothing."""


class StepHandle(Protocol):
    """A dispatched step."""

    def wait(self) -> Outcome:
        """Blocks until the step is done."""


class StepRunner(Protocol):
    """The device side as the engine sees it; every call returns as soon as the step is dispatched."""

    def prefill(self, work: PrefillWork) -> StepHandle: ...

    def decode(self, work: DecodeWork) -> StepHandle: ...

    def swap_out(self, work: SwapOutWork) -> StepHandle: ...

    def swap_in(self, work: SwapInWork) -> StepHandle: ...


@dataclass(frozen=True)
class MultihostStep:
    """A step that the leader of a pod has begun and the followers must run too.

    `saved` numbers what a SwapOutWork takes to the host, of which each process keeps its own part; a SwapInWork means
    the part of that number. Parts in `forgotten` are needed no more.
    """

    work: Work
    saved: int = 0
    forgotten: tuple[int, ...] = ()


class MultihostMember(Protocol):
    """This process's place in a pod."""

    @property
    def processes(self) -> int: ...

    @property
    def process_id(self) -> int: ...

    @property
    def distributed(self) -> str:
        """`host:port` of JAX's coordination service."""

    @property
    def timeout(self) -> float:
        """Seconds in which the processes must meet."""

    def agree(self, digests: Mapping[str, str]) -> None:
        """Returns once all processes have come to the same digests. Raises MultihostError when they differ."""


class MultihostLeader(MultihostMember, Protocol):
    """Process 0."""

    def send(self, step: MultihostStep) -> None:
        """Has the followers run a step. Returns at once."""

    def watch(self, stuck: Callable[[], float]) -> None:
        """Watches `stuck()`, for how many seconds the oldest unfinished step has been running."""


class MultihostFollower(MultihostMember, Protocol):
    """Any other process."""

    def steps(self) -> Iterable[MultihostStep]:
        """What the leader sends, until the pod has finished. Raises MultihostError when the leader is lost."""
