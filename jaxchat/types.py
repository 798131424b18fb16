"""Values that cross layers: plain Python and NumPy, without device arrays or protobuf."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import numpy as np

Progress = Callable[[int, int], None]
"""`progress(done, total)` reports the progress of a long operation."""
Report = Callable[[str, int, int], None]
"""`report(stage, done, total)` reports the progress of loading a model: its weights, kernels and programs."""
Finish = Literal["stop", "length", "numerical_error", "grammar_error", "engine_failure"]


class Constraint(Protocol):
    """The state of a grammar in one choice: which tokens may come next. One thread uses it at a time."""

    def fill(self, row: np.ndarray) -> None:
        """Writes the allowed tokens as bits: u32 `[V / 32]`, bit j % 32 of word j // 32 for token j.

        May raise if the grammar cannot be followed any further; the choice then ends with an error.
        """

    def accept(self, token: int) -> None:
        """Advances by the sampled token. Raises ValueError if that was not allowed."""


class Grammar(Protocol):
    """A language that answers must conform to."""

    def start(self) -> Constraint:
        """Returns a constraint at the beginning of an answer. This is cheap."""


@dataclass(frozen=True, kw_only=True)
class SamplingParams:
    """How one choice is sampled. The fields are those of the chat contract, which validates them."""

    temperature: float = 1.0
    top_p: float = 1.0
    frequency_penalty: float = 0.0
    presence_penalty: float = 0.0
    seed: int = 0  # 64 bits, unsigned
    logprobs: bool = False
    logit_bias: tuple[tuple[int, float], ...] = ()


@dataclass(frozen=True, kw_only=True)
class GenerateRequest:
    """A tokenised prompt and the number of continuations to generate."""

    prompt: np.ndarray  # i32 [tokens]
    max_tokens: int
    choices: int = 1
    sampling: SamplingParams = field(default_factory=SamplingParams)
    stop_tokens: frozenset[int] = frozenset()
    grammar: Grammar | None = None


@dataclass(frozen=True)
class TopLogprobs:
    """The most likely tokens at one position, in descending order.

    `ids` are i32 `[k]`, `values` their natural log-probabilities, f32 `[k]`.
    """

    ids: np.ndarray
    values: np.ndarray


@dataclass(frozen=True)
class TokenEvent:
    """One sampled token of one choice, or the end of a request.

    `token` is -1 if `finish` is "numerical_error", "grammar_error" or "engine_failure". With "engine_failure", `choice`
    is -1 too, and the event ends all choices of the request. `logprob` (natural logarithm) and `top` are set only if
    the request asks for log-probabilities and `token` is not -1.
    """

    request: int
    choice: int
    token: int
    finish: Finish | None = None
    logprob: float = 0.0
    top: TopLogprobs | None = None


@dataclass(frozen=True)
class PrefillWork:
    """One chunk of one prompt: `tokens` i32 `[<= C]` at positions from `start`, which is a multiple of C.

    `pages` i32 are all pages of the sequence, in order. The last chunk also samples the first token. If `token_mask`
    u32 `[1, V / 32]` is given, only tokens whose bit is set may be sampled.
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
    """One token for each of n slots: `slots` i32 `[n]`; `new_pages` i32 `[n]`, a page that was just added or -1.

    Where a row is `constrained` (bool `[n]`), `token_mask` u32 `[n, V / 32]` has the bits of the tokens that it may
    sample.
    """

    slots: np.ndarray
    new_pages: np.ndarray
    constrained: np.ndarray | None = None
    token_mask: np.ndarray | None = None


@dataclass(frozen=True)
class Swapped:
    """A sequence on the host: its slot's state and the contents of its pages, in the format of the runner that read
    them.
    """

    row: Any
    blocks: tuple[Any, ...]


@dataclass(frozen=True)
class SwapOutWork:
    """A copy of a slot's state and the contents of `pages` i32 to the host.

    Other sequences may use both from the next step on.
    """

    slot: int
    pages: np.ndarray


@dataclass(frozen=True)
class SwapInWork:
    """The return of a swapped sequence, bit for bit.

    `pages` i32 are all its pages now. The first `shared_pages` of them already have their contents.
    """

    slot: int
    pages: np.ndarray
    shared_pages: int
    swapped: Swapped


Work = PrefillWork | DecodeWork | SwapOutWork | SwapInWork


@dataclass(frozen=True)
class StepResult:
    """The tokens that a step sampled: n rows after a decode of n slots, one row after a prefill.

    `finite` is false in a row whose largest logit is not finite; its other values are then meaningless.
    Log-probabilities are natural logarithms, and meaningless in rows that do not ask for them. After a prefill that is
    not its prompt's last, all values are meaningless.
    """

    tokens: np.ndarray  # i32 [rows]
    finite: np.ndarray  # bool [rows]
    logprobs: np.ndarray  # f32 [rows]
    top_ids: np.ndarray  # i32 [rows, k]
    top_logprobs: np.ndarray  # f32 [rows, k]


Outcome = StepResult | Swapped | None
"""The result of a step on the host: tokens, a swapped sequence, or nothing."""


class StepHandle(Protocol):
    """A dispatched step."""

    def wait(self) -> Outcome:
        """Blocks until the step is done and returns its outcome."""


class StepRunner(Protocol):
    """The device as the engine sees it. Every call returns as soon as the step is dispatched."""

    def prefill(self, work: PrefillWork) -> StepHandle: ...

    def decode(self, work: DecodeWork) -> StepHandle: ...

    def swap_out(self, work: SwapOutWork) -> StepHandle: ...

    def swap_in(self, work: SwapInWork) -> StepHandle: ...


@dataclass(frozen=True)
class MultihostStep:
    """A step that the leader of a multihost group has begun and that the followers must run too.

    A SwapOutWork is stored under the number `saved`; each process keeps its own part. A SwapInWork restores the part
    of that number. Parts whose numbers are in `forgotten` can be deleted.
    """

    work: Work
    saved: int = 0
    forgotten: tuple[int, ...] = ()


class MultihostMember(Protocol):
    """This process's membership in a multihost group."""

    @property
    def processes(self) -> int: ...

    @property
    def process_id(self) -> int: ...

    @property
    def distributed(self) -> str:
        """The address `host:port` of JAX's coordination service."""

    @property
    def timeout(self) -> float:
        """Seconds within which the processes must meet."""

    def agree(self, digests: Mapping[str, str]) -> None:
        """Waits until all processes have reported the same digests. Raises MultihostError if they differ."""


class MultihostLeader(MultihostMember, Protocol):
    """The membership of process 0."""

    def send(self, step: MultihostStep) -> None:
        """Sends a step to the followers. Returns at once."""

    def watch(self, stuck: Callable[[], float]) -> None:
        """Monitors `stuck()`, the number of seconds for which the oldest unfinished step has been running."""


class MultihostFollower(MultihostMember, Protocol):
    """The membership of any other process."""

    def steps(self) -> Iterable[MultihostStep]:
        """Yields the leader's steps until the group has finished. Raises MultihostError if the leader is lost."""
