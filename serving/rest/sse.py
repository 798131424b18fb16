"""Sends a streamed answer as server-sent events."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from typing import Any, Protocol

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from jaxchat import v1
from jaxchat.errors import ChatError, internal
from jaxchat.openai_json import chunk_to_json, error_to_json
from serving.rest.disconnect import ClientGone, until_disconnect
from serving.rest.middleware import seed_header
from serving.rest.responses import dump, error_response

log = logging.getLogger(__name__)

HEADERS = {"cache-control": "no-cache", "x-accel-buffering": "no"}
CONTENT_TYPE = "text/event-stream; charset=utf-8"
KEEP_ALIVE = ": waiting\n\n"
DONE = "data: [DONE]\n\n"


class EventFormat(Protocol):
    """The form of an answer's events. Each method returns the text of all events that are due."""

    def chunk(self, chunk: v1.ChatCompletionChunk) -> str:
        """Returns the events of a chunk."""

    def end(self) -> str:
        """Returns the last events of a complete answer."""

    def fail(self, error: ChatError) -> str:
        """Returns the last events of an answer that failed."""


class ChatEvents:
    """The events of chat completions: one for each chunk, then `[DONE]`, without which an answer is incomplete.

    Args:
        include_usage: whether every event has the key `usage`.
    """

    def __init__(self, include_usage: bool) -> None:
        self._include_usage = include_usage

    def chunk(self, chunk: v1.ChatCompletionChunk) -> str:
        return _event(chunk_to_json(chunk, self._include_usage))

    def end(self) -> str:
        return DONE

    def fail(self, error: ChatError) -> str:
        return _event(error_to_json(error))


class EventStream(Response):
    """A response that sends chunks as server-sent events.

    An error before the first event becomes a plain JSON error. A later error becomes an event and ends the stream. A
    disconnect of the client cancels the backend's call.

    Args:
        chunks: the chunks of the answer.
        events: the form of the events.
        keep_alive: seconds between comments while the first token is awaited.
    """

    def __init__(self, chunks: AsyncIterator[v1.ChatCompletionChunk], events: EventFormat, keep_alive: float) -> None:
        self.chunks: Any = chunks
        self.events = events
        self.keep_alive = keep_alive
        self.background = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with contextlib.suppress(ClientGone):
            await until_disconnect(receive, self._run(scope, receive, send))

    async def _run(self, scope: Scope, receive: Receive, send: Send) -> None:
        writer = EventWriter(send)
        try:
            async with contextlib.aclosing(self.chunks):
                await self._send_chunks(writer)
            await writer.end(self.events.end())
        except Exception as error:
            if not isinstance(error, ChatError):
                log.exception("request %s failed", scope["state"]["request_id"])
                error = internal()
            if writer.started:
                await writer.end(self.events.fail(error))
            else:
                await error_response(error)(scope, receive, send)

    async def _send_chunks(self, writer: EventWriter) -> None:
        async for chunk in self._until_first_token(writer):
            await writer.send(self.events.chunk(chunk), chunk)
        async for chunk in self.chunks:
            await writer.send(self.events.chunk(chunk), chunk)

    async def _until_first_token(self, writer: EventWriter) -> AsyncIterator[v1.ChatCompletionChunk]:
        """Yields the chunks up to the first with content.

        While it waits, sends comments so that proxies keep the connection open. The first comment also sends the
        headers, because an invalid request would have failed long before.
        """
        while True:
            waiting = asyncio.ensure_future(anext(self.chunks, None))
            try:
                while not (await asyncio.wait({waiting}, timeout=self.keep_alive))[0]:
                    await writer.send(KEEP_ALIVE)
                chunk = waiting.result()
            finally:
                waiting.cancel()
                await asyncio.gather(waiting, return_exceptions=True)
            if chunk is None:
                return
            yield chunk
            if not all(choice.delta.role for choice in chunk.choices):
                return


class EventWriter:
    """A writer of server-sent events. The first event starts the response.

    Args:
        send: sends an ASGI message.
    """

    def __init__(self, send: Send):
        self._send = send
        self.started = False

    async def send(self, text: str, first: v1.ChatCompletionChunk | None = None) -> None:
        if not self.started:
            await self._start(first)
        if text:
            await self._send({"type": "http.response.body", "body": text.encode(), "more_body": True})

    async def end(self, text: str) -> None:
        await self.send(text)
        await self._send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _start(self, first: v1.ChatCompletionChunk | None) -> None:
        self.started = True
        headers = HEADERS | {"content-type": CONTENT_TYPE} | (seed_header(first) if first else {})
        raw = [(key.encode(), value.encode()) for key, value in headers.items()]
        await self._send({"type": "http.response.start", "status": 200, "headers": raw})


def _event(value: Any) -> str:
    return f"data: {dump(value)}\n\n"
