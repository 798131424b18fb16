"""What is known about a call beside its request, and what observers are told about it."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True, kw_only=True)
class Call:
    """A call as its front door sees it. `authorization` is for backends that pass the call on to another server."""

    request_id: str
    authorization: str = field(default="", repr=False)


@dataclass(kw_only=True)
class Record:
    """One request from its acceptance to its end. Times are in seconds, durations are measured by a steady clock.

    `outcome` is "running", then one of "completed", "refused", "failed", "timeout" and "cancelled"; `error` is the code
    of a `ChatError` (or its type, where it has no code), `status` its HTTP status; without an error that is 200, or 499
    where the client has left. `finish_reasons` has a word for each choice that has ended.
    `user` is as the client sent it: an observer must not store it unhashed.
    """

    request_id: str
    model: str
    streamed: bool
    choices: int = 1
    user: str = field(default="", repr=False)
    accepted: float = field(default_factory=time.time)
    prompt_tokens: int = 0
    completion_tokens: int = 0
    first_token: float | None = None
    seconds: float = 0.0
    outcome: str = "running"
    error: str = ""
    status: int = 0
    finish_reasons: tuple[str, ...] = ()
    started: float = field(default_factory=time.monotonic, repr=False)


class Observer(Protocol):
    """Is told about every request, on the session's loop; must be quick and must not raise."""

    def tokens(self, record: Record, count: int, gap: float | None) -> None:
        """`count` tokens of one choice have arrived, `gap` seconds after the last of that choice (None: the first)."""

    def finished(self, record: Record) -> None:
        """The request has ended, in whatever way; refused ones too."""
