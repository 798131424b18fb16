"""Transports to a `ChatSession` in this process."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncGenerator, Coroutine
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from jaxchat import v1
from jaxchat.chat.context import RequestContext
from jaxchat.client.transport import client_closed
from jaxchat.errors import ChatError
from jaxchat.errors import timeout as deadline_passed

if TYPE_CHECKING:
    from jaxchat.chat.session import ChatSession

T = TypeVar("T")
CONTEXT = RequestContext(request_id="in-process")


class AsyncLocalTransport:
    """A transport that calls a `ChatSession` in this process, on the asyncio loop that started the session.

    `close` closes the session, which stops its engine.
    """

    def __init__(self, session: ChatSession) -> None:
        self.session = session

    def __repr__(self) -> str:
        return f"{self.session.model_id}, in process"

    @property
    def default_model(self) -> str:
        return self.session.model_id

    @property
    def facts(self) -> list[tuple[str, str]]:
        """The lines of the start-up message, as (name, value), and the present load."""
        return [*self.session.summary(), ("load", self.session.stats.load)]

    async def complete(self, request: v1.ChatCompletionRequest, timeout: float | None = None) -> v1.ChatCompletion:
        try:
            async with asyncio.timeout(timeout):
                return await self.session.complete(request, CONTEXT)
        except TimeoutError:
            raise deadline_passed() from None

    def stream(
        self, request: v1.ChatCompletionRequest, timeout: float | None = None
    ) -> AsyncGenerator[v1.ChatCompletionChunk, None]:
        return _limited(self.session.stream(request, CONTEXT), timeout)

    async def complete_text(self, request: v1.TextCompletionRequest, timeout: float | None = None) -> v1.TextCompletion:
        try:
            async with asyncio.timeout(timeout):
                return await self.session.complete_text(request, CONTEXT)
        except TimeoutError:
            raise deadline_passed() from None

    def stream_text(
        self, request: v1.TextCompletionRequest, timeout: float | None = None
    ) -> AsyncGenerator[v1.TextCompletion, None]:
        return _limited(self.session.stream_text(request, CONTEXT), timeout)

    async def tokenize(self, request: v1.TokenizeRequest) -> v1.TokenizeResponse:
        return await self.session.tokenize(request, CONTEXT)

    async def detokenize(self, request: v1.DetokenizeRequest) -> v1.DetokenizeResponse:
        return await self.session.detokenize(request, CONTEXT)

    async def list_models(self) -> list[v1.Model]:
        return await self.session.models(CONTEXT)

    async def close(self) -> None:
        await self.session.close()


class LocalTransport:
    """A transport that runs a `ChatSession` in this process, on an asyncio loop in a separate thread.

    The constructor starts the session.
    """

    def __init__(self, session: ChatSession) -> None:
        self.session = session
        self._calls = AsyncLocalTransport(session)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=_run_until_stopped, args=[self._loop], name="jaxchat-loop", daemon=True)
        self._thread.start()
        try:
            self.run(session.start())
        except BaseException:
            self._stop_loop()
            raise

    def __repr__(self) -> str:
        return f"{self.session.model_id}, in process"

    @property
    def default_model(self) -> str:
        return self.session.model_id

    @property
    def facts(self) -> list[tuple[str, str]]:
        """The lines of the start-up message, as (name, value), and the present load."""
        return self._calls.facts

    def complete(self, request: v1.ChatCompletionRequest, timeout: float | None = None) -> v1.ChatCompletion:
        return self.run(self._calls.complete(request, timeout))

    def stream(
        self, request: v1.ChatCompletionRequest, timeout: float | None = None
    ) -> LocalChunkStream[v1.ChatCompletionChunk]:
        return LocalChunkStream(self, self._calls.stream(request, timeout))

    def complete_text(self, request: v1.TextCompletionRequest, timeout: float | None = None) -> v1.TextCompletion:
        return self.run(self._calls.complete_text(request, timeout))

    def stream_text(
        self, request: v1.TextCompletionRequest, timeout: float | None = None
    ) -> LocalChunkStream[v1.TextCompletion]:
        return LocalChunkStream(self, self._calls.stream_text(request, timeout))

    def tokenize(self, request: v1.TokenizeRequest) -> v1.TokenizeResponse:
        return self.run(self._calls.tokenize(request))

    def detokenize(self, request: v1.DetokenizeRequest) -> v1.DetokenizeResponse:
        return self.run(self._calls.detokenize(request))

    def list_models(self) -> list[v1.Model]:
        return self.run(self._calls.list_models())

    def close(self) -> None:
        """Closes the session, which stops its engine, and ends the thread. A second call does nothing."""
        if self._thread.is_alive():
            self.run(self.session.close())
            self._stop_loop()

    def _stop_loop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Runs a coroutine on the session's loop, and returns its result or raises its error.

        Raises:
            ChatError: the transport is closed.
        """
        if self._loop.is_closed():
            work.close()
            raise client_closed()
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result()
        except BaseException:  # Ctrl-C in a notebook must end the request too, not only the wait
            future.cancel()
            raise

    def begin(self, work: Coroutine[Any, Any, Any]) -> None:
        """Starts a coroutine on the session's loop without waiting for its end. Does nothing after `close`."""
        if self._loop.is_closed():
            work.close()
        else:
            asyncio.run_coroutine_threadsafe(work, self._loop)


class LocalChunkStream(Generic[T]):
    """The chunks of a session's answer. Garbage collection before the last chunk cancels the answer.

    Args:
        transport: runs the session.
        chunks: the chunks, which are read on the session's loop.
    """

    def __init__(self, transport: LocalTransport, chunks: AsyncGenerator[T, None]) -> None:
        self._transport = transport
        self._chunks = chunks
        self._ended = False

    def __next__(self) -> T:
        chunk = self._transport.run(_receive(self._chunks))
        if chunk is None:
            self._ended = True
            raise StopIteration
        return chunk

    def close(self) -> None:
        self._ended = True
        with contextlib.suppress(ChatError):  # the transport was closed, and the stream with it
            self._transport.run(self._chunks.aclose())

    def __del__(self) -> None:
        if not self._ended:  # not `run`, which would deadlock if garbage is collected on the loop's thread
            self._transport.begin(self._chunks.aclose())


async def _limited(chunks: AsyncGenerator[T, None], timeout: float | None) -> AsyncGenerator[T, None]:
    """Yields chunks. Raises `ChatError` once `timeout` seconds have passed, and closes `chunks` at the end."""
    deadline = None if timeout is None else asyncio.get_running_loop().time() + timeout
    async with contextlib.aclosing(chunks):
        while (chunk := await _receive(chunks, deadline)) is not None:
            yield chunk


async def _receive(chunks: AsyncGenerator[T, None], deadline: float | None = None) -> T | None:
    """Returns the next chunk, or None at the end. Raises `ChatError` at `deadline`, in seconds of the loop's clock."""
    try:
        async with asyncio.timeout_at(deadline):
            return await anext(chunks, None)
    except TimeoutError:
        raise deadline_passed() from None


def _run_until_stopped(loop: asyncio.AbstractEventLoop) -> None:
    """Runs the loop until it is stopped. Then ends its generators and threads, which may refer to the engine."""
    loop.run_forever()
    loop.run_until_complete(loop.shutdown_asyncgens())
    loop.run_until_complete(loop.shutdown_default_executor())
    loop.close()
