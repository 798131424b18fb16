"""A session as an object of this process that is called like the `openai` client."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from types import TracebackType
from typing import Any, TypeVar

from jaxchat import errors, v1
from jaxchat.chat.context import RequestContext
from jaxchat.chat.session import ChatSession
from jaxchat.openai_json import request_from_kwargs

T = TypeVar("T")


class AsyncChat:
    """`await chat.chat.completions.create(...)` on the loop that made it."""

    def __init__(self, session: ChatSession) -> None:
        self.session = session
        self.chat = _Namespace(_AsyncCompletions(session))

    async def close(self) -> None:
        await self.session.close()

    async def __aenter__(self) -> AsyncChat:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


class Chat:
    """`chat.chat.completions.create(...)` from ordinary code; the session runs on a loop in its own thread."""

    def __init__(self, session: ChatSession) -> None:
        self.session = session
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=_run_until_stopped, args=[self._loop], name="jaxchat-loop", daemon=True)
        self._thread.start()
        self._run(session.start())
        self.chat = _Namespace(_Completions(session, self._run))

    def close(self) -> None:
        """Stops the engine and the thread; nothing is left of either. Later calls raise ChatError."""
        if self._thread.is_alive():
            self._run(self.session.close())
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()

    def __enter__(self) -> Chat:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        if self._loop.is_closed():
            work.close()
            raise errors.draining()
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result()
        except BaseException:  # Ctrl-C in a notebook must end the request, not only the wait
            future.cancel()
            raise


def _run_until_stopped(loop: asyncio.AbstractEventLoop) -> None:
    """Also ends the loop's streams and threads: each may still refer to the engine."""
    loop.run_forever()
    loop.run_until_complete(loop.shutdown_asyncgens())
    loop.run_until_complete(loop.shutdown_default_executor())
    loop.close()


class _Namespace:
    """The `chat` of `chat.chat.completions`."""

    def __init__(self, completions: Any) -> None:
        self.completions = completions


class _AsyncCompletions:
    def __init__(self, session: ChatSession) -> None:
        self._session = session

    async def create(self, **kwargs: Any) -> v1.ChatCompletion | AsyncIterator[v1.ChatCompletionChunk]:
        """Arguments as in the OpenAI API. Raises ChatError."""
        parsed = request_from_kwargs(**{"model": self._session.model_id, **kwargs})
        if parsed.stream:
            return self._session.stream(parsed.request, RequestContext(request_id="in-process"))
        return await self._session.complete(parsed.request, RequestContext(request_id="in-process"))


class _Completions:
    def __init__(self, session: ChatSession, run: Callable[[Coroutine[Any, Any, Any]], Any]) -> None:
        self._asynchronous = _AsyncCompletions(session)
        self._run = run

    def create(self, **kwargs: Any) -> Any:
        """Arguments as in the OpenAI API: a `ChatCompletion`, or with `stream=True` an iterator of chunks."""
        answer = self._run(self._asynchronous.create(**kwargs))
        return answer if isinstance(answer, v1.ChatCompletion) else self._chunks(answer)

    def _chunks(self, stream: Any) -> Iterator[v1.ChatCompletionChunk]:
        async def advance() -> v1.ChatCompletionChunk | None:
            return await anext(stream, None)

        try:
            while (chunk := self._run(advance())) is not None:
                yield chunk
        finally:
            with contextlib.suppress(errors.ChatError):  # closed meanwhile, and the stream with it
                self._run(stream.aclose())
