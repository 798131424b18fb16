"""The host's record of one choice of one request."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field

import numpy as np

from jaxchat.arithmetic import token_bits
from jaxchat.engine.expected_tokens import ExpectedTokens
from jaxchat.engine.page_pool import Prefix
from jaxchat.engine.prompt_lookup import ForcedRate, PromptIndex, PromptLookup
from jaxchat.types import Constraint, GenerateRequest, Swapped

log = logging.getLogger(__name__)


@dataclass(eq=False)
class Sequence:
    """The state of one choice. `prefilled` and `dispatched` include steps in flight, whose results are not back yet."""

    request_id: int
    choice: int
    request: GenerateRequest
    slot: int = -1
    running_before: int = 0  # number of sequences that decoded when this one was queued
    prefilled: int = 0  # prompt tokens whose prefill has been dispatched
    cached_tokens: int = 0  # prompt tokens that need no prefill, as cached pages hold them
    admitted: float = 0.0  # when it first got a slot, in monotonic seconds
    dispatched: int = 0  # rows that have been dispatched to sample a token; rejected drafts are subtracted
    sampled: int = 0  # sampled tokens that have come back
    finished: bool = False
    pages: list[int] = field(default_factory=list)  # in order of position; the shared ones first
    prefixes: list[Prefix] = field(default_factory=list)
    reserved_pages: int = 0
    swapped: Swapped | None = None  # its contents on the host while it is swapped out
    constraint: Constraint | None = None
    constraint_failed: bool = False  # the constraint could not compute the allowed tokens
    tokens: list[int] = field(default_factory=list)  # the sampled tokens that have come back
    expected: ExpectedTokens = field(default_factory=ExpectedTokens)
    index: PromptIndex | None = None  # shared by all choices of the request
    lookup: PromptLookup | None = None  # made when drafts are first wanted
    forced_rate: ForcedRate = field(default_factory=ForcedRate)
    _not_stopping: np.ndarray | None = None  # bits of the tokens that are not stop tokens, once they are needed
    _prompt_length: int = 0

    def __post_init__(self) -> None:
        self._prompt_length = len(self.request.prompt)

    @property
    def ready(self) -> bool:
        """Whether the next token may be sampled. With a constraint, the token before it must be known."""
        if self.dispatched >= self.request.max_tokens:
            return False
        return self.constraint is None or self.dispatched == self.sampled

    @property
    def too_short(self) -> bool:
        """Whether the next token to dispatch must not be a stop token."""
        return self.dispatched < self.request.min_tokens

    @property
    def constrained(self) -> bool:
        """Whether the next token to dispatch needs a token mask."""
        return self.constraint is not None or self.dispatched < self.request.min_tokens

    def next_mask(self, words: int) -> np.ndarray | None:
        """Returns the mask of the next token to dispatch, u32 `[words]`; None if every token is allowed.

        Sets `constraint_failed` to whether the constraint raised an exception.
        """
        self.constraint_failed = False
        if not self.constrained:
            return None
        mask = np.zeros(words, np.uint32)
        self.constraint_failed = not self.fill_mask(mask)
        return mask

    def fill_mask(self, row: np.ndarray) -> bool:
        """Writes the tokens that may be dispatched next into a row of the token mask, u32 `[ceil(V / 32)]`.

        If a grammar allows only stop tokens, the text is complete. The answer may then end before `min_tokens` tokens.

        Returns:
            False if the constraint raises an exception, otherwise True.
        """
        try:
            self.write_mask(row, self.constraint)
        except Exception:  # an error of any kind must end this choice alone
            log.exception("a grammar has no next token")
            return False
        return True

    def write_mask(self, row: np.ndarray, constraint: Constraint | None) -> None:
        """Writes a row as `fill_mask` does, but with another constraint, whose exceptions it passes on.

        Args:
            row: the row, u32 `[ceil(V / 32)]`.
            constraint: for example, a copy of the sequence's constraint that has accepted drafts. None allows all
                tokens, except stop tokens among the first `min_tokens` tokens.
        """
        if constraint:
            constraint.fill(row)
        else:
            row[:] = ~np.uint32(0)
        if self.too_short:
            longer = row & self._going_on(len(row))
            row[:] = longer if longer.any() else row

    def _going_on(self, words: int) -> np.ndarray:
        """Returns the tokens that are not stop tokens, as bits u32 `[words]`."""
        if self._not_stopping is None:
            size = 32 * words
            self._not_stopping = ~token_bits([token for token in self.request.stop_tokens if token < size], size)
        return self._not_stopping

    def ends_with(self, token: int) -> bool:
        """Returns whether a sampled token, already counted in `sampled`, ends the answer.

        A stop token ends the answer, with one exception: among the first `min_tokens` tokens, a stop token that the
        constraint needs for the text does not end it.
        """
        if token not in self.request.stop_tokens:
            return False
        early = self.sampled <= self.request.min_tokens
        return not (early and self.constraint and not self.constraint.is_end(token))

    @property
    def prompt_index(self) -> PromptIndex:
        """The index of the tokens before the answer."""
        if self.index is None:
            self.index = PromptIndex(self.prompt, self.request.prediction)
        return self.index

    @property
    def prompt(self) -> np.ndarray:
        """The prompt's tokens, i32 `[tokens]`."""
        return self.request.prompt

    @property
    def unfilled(self) -> int:
        """The number of prompt tokens whose prefill is not dispatched."""
        return len(self.prompt) - self.prefilled

    @property
    def exhausted(self) -> bool:
        """Whether the steps of all `max_tokens` tokens have been dispatched."""
        return self.dispatched >= self.request.max_tokens

    @property
    def position(self) -> int:
        """The position of the newest dispatched token. The next step writes its keys and values."""
        return self._prompt_length + self.dispatched - 1

    @property
    def length(self) -> int:
        """The number of tokens whose keys and values are in the pages after all dispatched steps."""
        return self.position if self.dispatched else self.prefilled

    @property
    def arrival(self) -> tuple[int, int]:
        """The key that sorts sequences by the time of their submission."""
        return self.request_id, self.choice


def sequences_of(request_id: int, request: GenerateRequest) -> list[Sequence]:
    """Returns the sequences of all choices of a request."""
    index = PromptIndex(request.prompt, request.prediction)
    drafts = [ExpectedTokens(draft) for draft in request.drafts]
    drafts += [ExpectedTokens() for _ in range(len(drafts), request.choices)]
    return [
        Sequence(request_id, choice, request, index=index, expected=drafts[choice]) for choice in range(request.choices)
    ]


def accepts_token(constraint: Constraint, token: int) -> bool:
    """Advances the constraint by a sampled token. Returns False if the constraint does not allow the token."""
    try:
        constraint.accept(token)
    except ValueError:
        log.exception("a sampled token is not allowed by its grammar")
        return False
    return True
