"""One choice of one request on its way through the engine."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from jaxchat.engine.page_pool import Prefix
from jaxchat.types import Constraint, GenerateRequest, Swapped


@dataclass(eq=False)
class Sequence:
    """Host-side record of a choice. Counts run ahead of the device by the steps in flight."""

    request_id: int
    choice: int
    request: GenerateRequest
    slot: int = -1
    prefilled: int = 0  # prompt tokens whose prefill has been dispatched
    dispatched: int = 0  # sampled tokens whose step has been dispatched
    sampled: int = 0  # sampled tokens that have come back
    finished: bool = False
    pages: list[int] = field(default_factory=list)  # in order of position; the shared ones first
    prefixes: list[Prefix] = field(default_factory=list)
    reserved_pages: int = 0
    swapped: Swapped | None = None  # while it is swapped out, once it has arrived on the host
    constraint: Constraint | None = None
    constraint_failed: bool = False  # the constraint could not say what comes next

    @property
    def ready(self) -> bool:
        """The next token may be sampled: under a constraint only once the one before it is known."""
        return not self.exhausted and (self.constraint is None or self.dispatched == self.sampled)

    @property
    def prompt(self) -> np.ndarray:
        return self.request.prompt

    @property
    def exhausted(self) -> bool:
        """All tokens that may be sampled have been dispatched."""
        return self.dispatched >= self.request.max_tokens

    @property
    def position(self) -> int:
        """Where the newest dispatched token goes; its keys and values are written by the next step."""
        return len(self.prompt) + self.dispatched - 1

    @property
    def length(self) -> int:
        """Tokens whose keys and values are in its pages, once everything dispatched is done."""
        return self.position if self.dispatched else self.prefilled

    @property
    def arrival(self) -> tuple[int, int]:
        """Sorts by when it was submitted."""
        return self.request_id, self.choice
