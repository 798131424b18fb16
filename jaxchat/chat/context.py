"""The context of a call, the record of a request for observers, and facts about the served model."""

from __future__ import annotations

import asyncio
import secrets
import string
import time
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import date
from typing import Protocol

from jaxchat.errors import ChatError
from jaxchat.fingerprint import fingerprint


@dataclass(frozen=True, kw_only=True)
class RequestContext:
    """The id of a call, and the caller's credentials and trace. Backends that forward calls also forward these values.

    Attributes:
        authorization: the caller's header `authorization`; "" without one.
        traceparent: the caller's span, in the form of W3C Trace Context. It is not checked; "" without one.
        tracestate: further data about the trace, in the form of W3C Trace Context.
    """

    request_id: str
    authorization: str = field(default="", repr=False)
    traceparent: str = ""
    tracestate: str = ""

    def record(self, operation: str, *, model: str, streamed: bool, choices: int, user: str) -> Record:
        """Returns the record of a request that is accepted now."""
        record = Record(
            request_id=self.request_id,
            operation=operation,
            model=model,
            streamed=streamed,
            choices=choices,
            user=user,
        )
        record.traceparent, record.tracestate = self.traceparent, self.tracestate
        return record


@dataclass(kw_only=True)
class Record:
    """The record of one request from its acceptance to its end. Durations are in seconds of a monotonic clock.

    Attributes:
        operation: "chat" or "text_completion", the names that OpenTelemetry gives these operations.
        choices: number of requested choices: `n` for each prompt.
        user: the field `user` of the request. Observers must not store it unhashed.
        accepted: time of acceptance, Unix seconds.
        prompt_tokens: tokens of all prompts; 0 until the prompts are tokenised.
        scored_tokens: tokens of the prompts for which log-probabilities were computed.
        cached_tokens: prompt tokens that the first choice of each prompt took from the prefix cache.
        completion_tokens: sampled tokens of all choices so far.
        reasoning_tokens: tokens in the thoughts of the finished choices.
        accepted_prediction_tokens: tokens of the request's prediction that the finished choices repeat.
        queued: seconds from acceptance until the request began to wait for a slot; None until then.
        admitted: seconds from acceptance until the first choice got a slot; None until the first token is known.
        first_token: seconds from acceptance to the first token; None until then.
        last_token: seconds from acceptance to the newest token; None until the first token.
        seconds: seconds from acceptance to the end; 0 while the request runs.
        outcome: "running", then "completed", "refused", "failed", "timeout" or "cancelled".
        error: code of the `ChatError`, or its type if it has no code; "" without an error.
        status: HTTP status: 200, the status of the error, 499 if the client disconnected, or 0 while the request runs.
        finish_reasons: the finish reasons of ended choices, such as "stop", in the order in which the choices ended.
        started: time of acceptance on the monotonic clock, in seconds.
        traceparent: as in `RequestContext`.
        tracestate: as in `RequestContext`.
    """

    request_id: str
    model: str
    streamed: bool
    operation: str = "chat"
    choices: int = 1
    user: str = field(default="", repr=False)
    accepted: float = field(default_factory=time.time)
    prompt_tokens: int = 0
    scored_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    reasoning_tokens: int = 0
    accepted_prediction_tokens: int = 0
    queued: float | None = None
    admitted: float | None = None
    first_token: float | None = None
    last_token: float | None = None
    seconds: float = 0.0
    outcome: str = "running"
    error: str = ""
    status: int = 0
    finish_reasons: tuple[str, ...] = ()
    started: float = field(default_factory=time.monotonic, repr=False)
    traceparent: str = ""
    tracestate: str = ""


class Observer(Protocol):
    """An observer of all requests. Its methods run on the session's loop, so they must be quick and must not raise."""

    def tokens(self, record: Record, count: int, gap: float | None) -> None:
        """Observes new tokens of one choice.

        Args:
            record: the record of the request.
            count: number of new tokens.
            gap: seconds since the choice's previous token; None for its first.
        """

    def finished(self, record: Record) -> None:
        """Observes the end of a request, whatever its `outcome`: answered, rejected, failed, timed out or cancelled."""


def outcome_of(error: ChatError) -> str:
    """Returns `Record.outcome` for a request that ended with `error`."""
    if error.http_status == 504:
        return "timeout"
    return "refused" if error.http_status < 500 or error.code == "draining" else "failed"


class OpenCalls:
    """A counter of open calls, on one asyncio loop."""

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
        """Waits until no call is open, but at most `seconds`."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._none.wait(), seconds)


_ALPHABET = string.ascii_letters + string.digits


def random_id(prefix: str, length: int) -> str:
    """Returns `prefix` followed by `length` random letters and digits."""
    return prefix + "".join(secrets.choice(_ALPHABET) for _ in range(length))


@dataclass(frozen=True, kw_only=True)
class ModelInfo:
    """Facts about the served model.

    Attributes:
        id: the name of the model in answers.
        created: Unix seconds.
        vocab: number of token ids.
        logits: V, the number of logits, padding included.
        context: maximum length of a prompt with its answer, in tokens.
        queue: maximum number of sequences that wait for a slot.
        block_size: length of one chunk of the prefix cache, in tokens.
        blocks: number of such chunks that fit into the KV pages of all copies of the model together.
        backend: the platform of jax, such as "cpu" or "tpu".
        fingerprint: the `system_fingerprint` of answers whose prompts do not depend on the day.
        raw_logprobs: whether reported log-probabilities are computed from the unchanged logits of the model.
        quantization_forms: names of the forms of quantised checkpoints that can be loaded.
        facts: lines for the start-up message, as (name, value).
        other_names: further names that requests may use.
    """

    id: str
    created: int
    vocab: int
    logits: int
    context: int
    queue: int
    fingerprint: str
    raw_logprobs: bool = True
    quantization_forms: tuple[str, ...] = ()
    facts: tuple[tuple[str, str], ...] = ()
    other_names: tuple[str, ...] = ()
    block_size: int = 0
    blocks: int = 0
    backend: str = ""

    @property
    def names(self) -> tuple[str, ...]:
        """All names that requests may use, `id` first."""
        return self.id, *self.other_names

    def id_of(self, name: str) -> str:
        """Returns `id` if `name` is one of `names`, and otherwise returns `name`."""
        return self.id if name in self.names else name

    def fingerprint_on(self, day: date | None) -> str:
        """Returns the `system_fingerprint` of an answer.

        Args:
            day: the day for which the prompt was rendered; None if the chat template does not read the day.
        """
        if day is None:
            return self.fingerprint
        return fingerprint(f"{self.fingerprint} {day}")
