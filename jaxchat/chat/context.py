"""What is known about a call beside its request, and what observers are told about it."""

from __future__ import annotations

import asyncio
import secrets
import string
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True, kw_only=True)
class RequestContext:
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


class OpenCalls:
    """How many calls are open, on one asyncio loop."""

    def __init__(self) -> None:
        self._count = 0
        self._none = asyncio.Event()
        self._none.set()

    def enter(self) -> None:
        self._count += 1
        self._none.clear()

    def leave(self) -> None:
        self._count -= 1
        if not self._count:
            self._none.set()

    async def wait(self, seconds: float) -> None:
        """Returns when none is open, after `seconds` at the latest."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._none.wait(), seconds)


_ALPHABET = string.ascii_letters + string.digits


def random_id(prefix: str, length: int) -> str:
    """`prefix` and `length` random letters and digits."""
    return prefix + "".join(secrets.choice(_ALPHABET) for _ in range(length))


@dataclass(frozen=True, kw_only=True)
class ModelInfo:
    """What is said about the served model."""

    id: str
    created: int  # Unix seconds
    vocab: int  # ids that are tokens
    logits: int  # V, padding included
    context: int
    queue: int
    fingerprint: str
    facts: tuple[tuple[str, str], ...] = ()
