"""Values that cross layers: plain Python and NumPy, without device arrays or protobuf.

Letters: R rows of a step, P pages of a sequence at most, V tokens in the vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np

Progress = Callable[[int, int], None]
"""`progress(done, total)` reports the progress of a long operation."""
Report = Callable[[str, int, int], None]
"""`report(stage, done, total)` reports the progress of loading a model: its weights, kernels and programs."""
Finish = Literal["stop", "length", "numerical_error", "grammar_error", "engine_failure"]


class Constraint(Protocol):
    """The state of a grammar in one choice: which tokens may come next. Only one thread at a time may use it."""

    def fill(self, row: np.ndarray) -> None:
        """Writes the tokens that may come next into `row`, u32 `[ceil(V / 32)]`.

        Bit j % 32 of word j // 32 is set if token j may come next. May raise any exception if the grammar allows no
        continuation. The choice then ends with an error.
        """

    def accept(self, token: int) -> None:
        """Advances by a sampled token. Raises ValueError if the grammar does not allow the token."""

    def forced(self) -> list[int]:
        """Returns the next tokens if the grammar probably allows no other text; often none. May raise any exception."""

    def copy(self) -> Constraint | None:
        """Returns a copy in the same state, to look ahead with; None if use of the copy could harm this constraint."""

    def is_end(self, token: int) -> bool:
        """Returns whether a token ends the answer. Any other token that the grammar allows is part of its text."""


class Grammar(Protocol):
    """The set of texts that an answer may be."""

    def start(self) -> Constraint:
        """Returns the constraint of a new answer. Must be fast, because the engine thread calls it."""


@dataclass(frozen=True, kw_only=True)
class SamplingParams:
    """The sampling parameters of one choice, as in the chat API. `jaxchat.chat.request` validates them."""

    temperature: float = 1.0
    top_p: float = 1.0
    frequency_penalty: float = 0.0
    presence_penalty: float = 0.0
    repetition_penalty: float = 1.0
    top_k: int = 0  # 0 or less: all tokens
    min_p: float = 0.0
    seed: int = 0  # 64 bits, unsigned
    logprobs: bool = False
    logit_bias: tuple[tuple[int, float], ...] = ()  # token ids with their biases


@dataclass(frozen=True, kw_only=True)
class GenerateRequest:
    """A tokenised prompt and the rules for its answers: `choices` answers of at most `max_tokens` tokens each.

    Among the first `min_tokens` tokens of a choice, stop tokens are allowed only if the grammar allows no other token.
    Such a stop token ends the choice, unless it is part of the grammar's text (see `Constraint.is_end`).

    `prediction` is a text that the answer is expected to resemble, i32 `[tokens]`. `drafts` has the expected first
    tokens of each choice. Both can only save time.
    """

    prompt: np.ndarray  # i32 [tokens]
    max_tokens: int
    choices: int = 1
    sampling: SamplingParams = field(default_factory=SamplingParams)
    stop_tokens: frozenset[int] = frozenset()
    min_tokens: int = 0
    grammar: Grammar | None = None
    prediction: np.ndarray | None = None
    drafts: tuple[tuple[int, ...], ...] = ()


@dataclass(frozen=True)
class TopLogprobs:
    """The most likely tokens at one position, in descending order, and their natural log-probabilities."""

    ids: np.ndarray  # i32 [k]
    values: np.ndarray  # f32 [k]


class TokenEvent(NamedTuple):
    """One sampled token of one choice, or the failure of a choice or of a whole request. A tuple, for speed.

    `token` is -1 if `finish` is "numerical_error", "grammar_error" or "engine_failure". With "engine_failure", `choice`
    is -1 too, and all choices of the request end. `logprob` and `top` are set only if the request asks for them and
    `token` is not -1.
    """

    request: int
    choice: int
    token: int
    finish: Finish | None = None
    logprob: float = 0.0  # natural logarithm
    top: TopLogprobs | None = None
    cached_tokens: int = 0  # tokens of the prompt that an earlier prompt had computed
    admitted: float = 0.0  # when the choice first got a slot, in monotonic seconds
    drafted: bool = False  # whether the token was an accepted draft


@dataclass(frozen=True)
class PrefillSlice:
    """Successive tokens of one prompt: `tokens` i32 `[n]`, n > 0, at positions from `start`, where a page begins.

    `slot` is the sequence's slot, and `pages` i32 `[<= P]` are all its pages so far, in order of position. `choice` is
    the index of the choice. After the `last` slice of a prompt, the first token is sampled. If `token_mask` u32
    `[ceil(V / 32)]` is given, only tokens whose bit is set may be sampled. The last slice has the whole `prompt`, i32
    `[tokens]`, if the answer has a repetition penalty.
    """

    slot: int
    tokens: np.ndarray
    start: int
    last: bool
    pages: np.ndarray
    choice: int
    sampling: SamplingParams
    token_mask: np.ndarray | None = None
    prompt: np.ndarray | None = None


@dataclass(frozen=True)
class PrefillWork:
    """A prefill step: one or more `slices`, each of a different prompt.

    There are at most `most_slices(T)` slices with at most T tokens together, where T is the size of a prefill bucket. A
    layer writes all keys and values of the step before it reads any, so a prompt may read what another slice writes.
    """

    slices: tuple[PrefillSlice, ...]

    @property
    def tokens(self) -> int:
        """The number of tokens of all slices."""
        return sum(len(part.tokens) for part in self.slices)


@dataclass(frozen=True)
class DecodeWork:
    """A decode step of R rows, each of which samples one token. `slots` i32 `[R]` has the slot of each row.

    `new_pages` i32 `[R]` has the page that a sequence was just given, or -1. A row that is `constrained` (bool `[R]`)
    may sample only tokens whose bit is set in `token_mask`, u32 `[R, ceil(V / 32)]`.

    A slot may be in several successive rows. `drafts` i32 `[R]` then has -1 for the first of these rows. For each
    further row, it has a guess of the token that the row before samples. A row is used only if its guess and the slot's
    earlier guesses are right. At most 15 rows of a slot have guesses. If `drafts` is None, every slot is in one row.
    """

    slots: np.ndarray
    new_pages: np.ndarray
    constrained: np.ndarray | None = None
    token_mask: np.ndarray | None = None
    drafts: np.ndarray | None = None


@dataclass(frozen=True)
class Swapped:
    """A sequence on the host: the state of its slot and the contents of its pages, in the runner's own format."""

    row: Any
    blocks: tuple[Any, ...]


@dataclass(frozen=True)
class SwapOutWork:
    """A step that copies the state of `slot` and the contents of `pages` to the host, so that both can be reused."""

    slot: int
    pages: np.ndarray


@dataclass(frozen=True)
class SwapInWork:
    """A step that restores a swapped sequence in `slot`, bit for bit.

    `pages` i32 are all pages that the sequence has now. The first `shared_pages` of them are cached pages, which
    already have their contents.
    """

    slot: int
    pages: np.ndarray
    shared_pages: int
    swapped: Swapped


Work = PrefillWork | DecodeWork | SwapOutWork | SwapInWork


@dataclass(frozen=True)
class StepResult:
    """The tokens that a step sampled: a row for each row of a decode step, or for each slice of a prefill step.

    `finite` is false in a row whose largest logit is not finite; the row's other values are then meaningless.
    Log-probabilities are natural logarithms, and meaningless in rows that do not ask for them. All values are
    meaningless in the row of a slice that is not the last of its prompt.
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

    `saved` is the number of a swapped sequence, and 0 for other work. Each process stores its own part of the sequence.
    A SwapOutWork stores the part under that number, and a SwapInWork restores the part. Parts whose numbers are in
    `forgotten` can be deleted.
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
        """The time in seconds within which all processes must join."""

    def agree(self, digests: Mapping[str, str]) -> None:
        """Waits until all processes have reported the same `digests`, by name.

        Raises:
            MultihostError: a process reports other digests, is late or is lost.
        """


class MultihostLeader(MultihostMember, Protocol):
    """The membership of process 0."""

    def send(self, step: MultihostStep) -> None:
        """Sends a step to the followers. Returns at once."""

    def watch(self, stuck: Callable[[], float]) -> None:
        """Starts to monitor `stuck()`, the seconds for which the oldest unfinished step has been running.

        If that time exceeds the group's limit, a process counts as lost.
        """


class MultihostFollower(MultihostMember, Protocol):
    """The membership of a process other than process 0."""

    def steps(self) -> Iterable[MultihostStep]:
        """Yields the leader's steps until the group has finished. Raises MultihostError if the leader is lost."""
