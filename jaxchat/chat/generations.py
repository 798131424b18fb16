"""The open requests of a session, and their generations on the engine of the session."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from itertools import groupby
from operator import attrgetter
from typing import Any, Protocol

from jaxchat import errors
from jaxchat.chat.context import Observer, OpenCalls, Record, outcome_of
from jaxchat.chat.response.choice import ChoiceBuilder
from jaxchat.chat.response.stream import FAILURES, OutputStream
from jaxchat.config import ChatConfig
from jaxchat.engine.engine import Engine, EngineStopped, QueueFull
from jaxchat.engine.router import DataParallelEngine
from jaxchat.errors import ChatError
from jaxchat.types import GenerateRequest, TokenEvent


class Receiver(Protocol):
    """A receiver of the tokens that the engine generates for one request."""

    def feed(self, events: Sequence[TokenEvent]) -> None:
        """Processes the tokens of one step."""

    def fail(self, error: ChatError) -> None:
        """Ends the request with an error."""


class Generations:
    """The open requests of a session. All methods belong to the asyncio loop that ran `start`.

    Args:
        engine: the engine, not started.
        config: limits of requests.
        queue: maximum number of sequences that wait for a slot. The error for a full queue shows this number.

    Attributes:
        observers: informed of every token and of the end of every request.
        running: the receivers of the running requests, by the id that the engine gave the request.
        failed: set after the engine has failed.
        draining: whether new requests are rejected.
    """

    def __init__(self, engine: Engine | DataParallelEngine, config: ChatConfig, queue: int) -> None:
        self.engine = engine
        self.observers: list[Observer] = []
        self.running: dict[int, Receiver] = {}
        self.failed = asyncio.Event()
        self.draining = False
        self._config = config
        self._queue = queue
        self._open = OpenCalls()

    def start(self) -> None:
        """Starts the engine. Its events are delivered to the running asyncio loop."""
        loop = asyncio.get_running_loop()

        def schedule(*call: Any) -> None:
            with suppress(RuntimeError):  # the loop may be closed, and then all readers are gone
                loop.call_soon_threadsafe(*call)

        self.engine.start(partial(schedule, self._route), partial(schedule, self._ended))

    async def drain(self, grace: float) -> None:
        """Rejects new requests, and waits at most `grace` seconds until the open requests have ended."""
        self.draining = True
        await self._open.wait(grace)

    def fail(self) -> None:
        """Ends all requests with an error. Works even if the engine's thread hangs after the loss of a device."""
        self.failed.set()
        for receiver in self.running.values():
            receiver.fail(errors.engine_stopped())

    def check_accepting(self) -> None:
        """Raises `ChatError` 503 if new requests are rejected."""
        if self.draining:
            raise errors.draining()
        if not self.engine.alive or self.failed.is_set():
            raise errors.engine_stopped()

    @contextmanager
    def observed(self, record: Record) -> Iterator[None]:
        """Counts a request as open while the block runs.

        At the end of the block, completes `record` and passes it to the observers, even if the block raises.
        """
        self._open.enter()
        try:
            yield
            record.outcome, record.status = "completed", 200
        except ChatError as error:
            record.outcome, record.error, record.status = outcome_of(error), error.code or error.type, error.http_status
            raise
        except (asyncio.CancelledError, GeneratorExit):
            record.outcome, record.status = "cancelled", 499
            raise
        except BaseException:
            record.outcome, record.error, record.status = "failed", "internal_error", 500
            raise
        finally:
            record.seconds = time.monotonic() - record.started
            self._open.leave()
            for observer in self.observers:
                observer.finished(record)

    @contextmanager
    def run(
        self, requests: Sequence[GenerateRequest], builders: Sequence[ChoiceBuilder], record: Record
    ) -> Iterator[OutputStream]:
        """Submits requests to the engine. The context manager yields the stream of their output.

        If the block ends before the stream ends, cancels the requests. If the request takes more than `request_timeout`
        seconds from its acceptance, the stream fails with status 504.

        Args:
            requests: one for each prompt, all with the same number of choices.
            builders: one for each choice of the first request, then one for each choice of the second, and so on.
            record: the record of the client's request, which all `requests` belong to.

        Raises:
            ChatError: the queue is full, or the engine has stopped.
        """
        numbers: list[int] = []
        choices = requests[0].choices

        def cancel(choice: int | None) -> None:
            if choice is not None:
                self.engine.cancel(numbers[choice // choices], choice % choices)
            else:
                self._cancel(numbers)

        limit = self._config.max_buffered_bytes
        record.queued = time.monotonic() - record.started
        stream = OutputStream(builders, record, self.observers, cancel, limit, choices_per_prompt=choices)
        try:
            for place, request in enumerate(requests):
                self._submit(request, _Shifted(stream, place * choices) if place else stream, numbers)
            with stream.time_limit(self._config.request_timeout):
                yield stream
        finally:
            self._forget(numbers)
            if not stream.finished:
                self._cancel(numbers)

    async def collect(self, requests: Sequence[GenerateRequest], record: Record) -> list[list[TokenEvent]]:
        """Runs requests with one choice each, and returns one list of tokens for each request.

        The tokens are not part of an answer, so `record` does not count them.

        Raises:
            ChatError: the queue is full, the engine stops or fails, or the request runs out of time.
        """
        collector, numbers = _Collector(len(requests)), list[int]()
        timeout = self._config.request_timeout
        try:
            for place, request in enumerate(requests):
                self._submit(request, _Part(collector, place), numbers)
            async with asyncio.timeout(None if timeout is None else timeout - (time.monotonic() - record.started)):
                return await collector.done
        except TimeoutError:
            raise errors.timeout() from None
        finally:
            self._forget(numbers)
            if collector.open:
                self._cancel(numbers)

    def _submit(self, request: GenerateRequest, receiver: Receiver, numbers: list[int]) -> None:
        """Submits a request and appends its id to `numbers`.

        Raises:
            ChatError: the queue is full, or the engine has stopped.
        """
        if self.failed.is_set():  # while the request was prepared; a hung engine would accept it and never answer
            raise errors.engine_stopped()
        try:
            number = self.engine.submit(request)
        except QueueFull:
            raise errors.queue_full(self.engine.stats.waiting, self._queue) from None
        except EngineStopped:
            raise errors.engine_stopped() from None
        numbers.append(number)
        self.running[number] = receiver

    def _cancel(self, numbers: Sequence[int]) -> None:
        for number in numbers:
            self.engine.cancel(number, None)

    def _forget(self, numbers: Sequence[int]) -> None:
        for number in numbers:
            del self.running[number]

    def _route(self, events: list[TokenEvent]) -> None:
        """Passes the events of one step to the receivers of their requests. Drops events of ended requests."""
        for number, group in groupby(events, attrgetter("request")):
            if receiver := self.running.get(number):
                receiver.feed(list(group))

    def _ended(self) -> None:
        if self.engine.failure:
            self.failed.set()


class _Shifted:
    """A receiver of one request's tokens. It passes them to a stream that several requests share.

    In the stream, the choices of this request are numbered from `first` on.
    """

    def __init__(self, stream: OutputStream, first: int) -> None:
        self._stream, self._first = stream, first

    def feed(self, events: Sequence[TokenEvent]) -> None:
        self._stream.feed([event._replace(choice=event.choice + self._first) for event in events])

    def fail(self, error: ChatError) -> None:
        self._stream.fail(error)


class _Collector:
    """A collector of the tokens of several requests with one choice each.

    When all requests have ended, `done` gets the tokens. When a request fails, `done` gets the error.
    """

    def __init__(self, count: int) -> None:
        self.events: list[list[TokenEvent]] = [[] for _ in range(count)]
        self.open = count
        self.done: asyncio.Future[list[list[TokenEvent]]] = asyncio.get_running_loop().create_future()

    def feed(self, place: int, events: Sequence[TokenEvent]) -> None:
        for event in events:
            if event.finish in FAILURES:
                self.fail(FAILURES[event.finish]())
                return
            self.events[place].append(event)
            self.open -= event.finish is not None
        if not self.open and not self.done.done():
            self.done.set_result(self.events)

    def fail(self, error: ChatError) -> None:
        if not self.done.done():
            self.done.set_exception(error)


class _Part:
    """A receiver that passes the tokens of one request to the collector of several requests."""

    def __init__(self, collector: _Collector, place: int) -> None:
        self._collector, self._place = collector, place

    def feed(self, events: Sequence[TokenEvent]) -> None:
        self._collector.feed(self._place, events)

    def fail(self, error: ChatError) -> None:
        self._collector.fail(error)
