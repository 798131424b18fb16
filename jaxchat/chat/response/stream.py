"""The output of a running request. The engine delivers tokens at one pace, and the client reads text at another."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from jaxchat import errors, v1
from jaxchat.chat.context import Observer, Record
from jaxchat.chat.response.choice import ChoiceBuilder, ChoiceDelta
from jaxchat.errors import ChatError
from jaxchat.types import TokenEvent

log = logging.getLogger(__name__)
Cancel = Callable[[int | None], None]
FAILURES: Mapping[str | None, Callable[[], ChatError]] = {
    "numerical_error": errors.numerical_error,
    "grammar_error": errors.internal,
    "engine_failure": errors.engine_stopped,
}
"""The error with which a request fails, by the `finish` of an event."""


class OutputStream:
    """The output of all choices of a request, made from tokens as they arrive. A stop string ends a choice at once.

    Unread text and log-probability entries are joined, so that a slow reader costs no more memory than the size of its
    answer. The request fails if more than `limit` bytes are unread. All methods belong to one asyncio loop.

    Args:
        builders: one for each choice.
        record: the record of the request. The stream updates it and passes it to `observers`.
        observers: informed of every token.
        cancel: `cancel(choice)` ends the choice with that index in the engine; `cancel(None)` ends all choices.
        limit: maximum size of unread text and entries, in bytes.
        choices_per_prompt: number of successive choices that share a prompt; None if all choices share one prompt.
    """

    def __init__(
        self,
        builders: Sequence[ChoiceBuilder],
        record: Record,
        observers: Sequence[Observer],
        cancel: Cancel,
        limit: int,
        choices_per_prompt: int | None = None,
    ) -> None:
        self.builders = builders
        self._record = record
        self._observers = observers
        self._cancel = cancel
        self._limit = limit
        self._wake = asyncio.Event()
        self._error: ChatError | None = None
        self._touched: set[int] = set()
        self._per_prompt = choices_per_prompt or len(builders)
        self._cached: dict[int, int] = {}  # tokens from the prefix cache, by the first choice of each prompt
        self._latest: list[float | None] = [None] * len(builders)

    @property
    def finished(self) -> bool:
        """Whether every choice has ended."""
        return all(builder.finished for builder in self.builders)

    @property
    def exhausted(self) -> bool:
        """Whether every choice has ended and all output was read."""
        return self.finished and not self._touched

    @contextmanager
    def time_limit(self, seconds: float | None) -> Iterator[None]:
        """Limits the time of the request while the block runs.

        Args:
            seconds: time from acceptance of the request until it fails with status 504; None for no limit.
        """
        if seconds is None:
            yield
            return
        remaining = seconds - (time.monotonic() - self._record.started)
        timer = asyncio.get_running_loop().call_later(remaining, self.fail, errors.timeout())
        try:
            yield
        finally:
            timer.cancel()

    def feed(self, events: Sequence[TokenEvent]) -> None:
        """Processes the tokens of one step. Does not raise: an error fails the request instead."""
        try:
            for event in events:
                self._feed(event)
            if sum(builder.buffered_bytes for builder in self.builders) > self._limit:
                self.fail(errors.reader_too_slow(self._limit))
        except Exception:
            log.exception("request %s failed", self._record.request_id)
            self.fail(errors.internal())
        self._wake.set()

    def fail(self, error: ChatError) -> None:
        """Ends the request: `take` raises `error`. Does nothing if the request has failed or ended already."""
        if self._error is None and not self.finished:
            self._error = error
            self._cancel(None)
            self._wake.set()

    async def take(self, *, complete: bool = False) -> list[tuple[int, ChoiceDelta]]:
        """Waits for new output. Returns a pair (index, delta) for each choice with new output.

        Args:
            complete: whether to wait until all choices have ended.

        Raises:
            ChatError: the request has failed.
        """
        while True:
            await self._wake.wait()
            self._wake.clear()
            if self._error:
                raise self._error
            if self.finished or not complete:
                break
        touched, self._touched = sorted(self._touched), set()
        return [(index, self.builders[index].take()) for index in touched]

    def _feed(self, event: TokenEvent) -> None:
        if event.finish in FAILURES:
            self.fail(FAILURES[event.finish]())
            return
        builder = self.builders[event.choice]
        if builder.finished or self._error:
            return
        builder.feed(event)
        self._touched.add(event.choice)
        if event.choice % self._per_prompt == 0 and event.choice not in self._cached:
            self._cached[event.choice] = event.cached_tokens
            self._record.cached_tokens += event.cached_tokens
        if event.choice == 0:
            self._record.admitted = event.admitted - self._record.started
        self._observe(event.choice)
        if builder.finished:
            self._record.finish_reasons += (_word(builder.reason),)
            self._record.reasoning_tokens += builder.reasoning_tokens
            self._record.accepted_prediction_tokens += builder.accepted_prediction_tokens
            if not event.finish:
                self._cancel(event.choice)

    def _observe(self, choice: int) -> None:
        record, now, latest = self._record, time.monotonic(), self._latest[choice]
        record.completion_tokens += 1
        record.last_token = now - record.started
        if record.first_token is None:
            record.first_token = record.last_token
        self._latest[choice] = now
        for observer in self._observers:
            observer.tokens(record, 1, None if latest is None else now - latest)


def _word(reason: v1.FinishReason) -> str:
    return v1.FinishReason.Name(reason).removeprefix("FINISH_REASON_").lower()
