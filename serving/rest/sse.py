"""Sends a streamed answer as server-sent events."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from typing import Any

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from jaxchat import v1
from jaxchat.errors import ChatError, internal
from jaxchat.openai_json import chunk_to_json, error_to_json, text_part_to_json
from serving.rest.disconnect import ClientGone, until_disconnect
from serving.rest.middleware import seed_header
from serving.rest.responses import dump, error_response

log = logging.getLogger(__name__)

HEADERS = {"cache-control": "no-cache", "x-accel-buffering": "no"}
CONTENT_TYPE = "text/event-stream; charset=utf-8"
KEEP_ALIVE = ": waiting\n\n"
DONE = "data: [DONE]\n\n"
Chunk = v1.ChatCompletionChunk | v1.TextCompletion


class EventStream(Response):
    """A response that sends chunks as server-sent events, then `[DONE]`.

    An error before anything was sent becomes a plain JSON error. A later error becomes an event, and `[DONE]` is not
    sent, which shows that the answer is incomplete. A disconnect of the client cancels the backend's call.

    Args:
        chunks: the chunks of the answer.
        include_usage: whether every event has the key `usage`.
        keep_alive: seconds between comments while the first token is awaited.
    """

    def __init__(self, chunks: AsyncIterator[Chunk], include_usage: bool, keep_alive: float) -> None:
        self.chunks: Any = chunks
        self.include_usage = include_usage
        self.keep_alive = keep_alive
        self.background = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with contextlib.suppress(ClientGone):
            await until_disconnect(receive, self._run(scope, receive, send))

    async def _run(self, scope: Scope, receive: Receive, send: Send) -> None:
        events = Events(send)
        try:
            async with contextlib.aclosing(self.chunks):
                await self._send_chunks(events)
            await events.end(self.ending())
        except Exception as error:
            if not isinstance(error, ChatError):
                log.exception("request %s failed", scope["state"]["request_id"])
                error = internal()
            if events.started:
                await events.end(self.failure(error))
            else:
                await error_response(error)(scope, receive, send)

    async def _send_chunks(self, events: Events) -> None:
        async for chunk in self._until_first_token(events):
            await events.send(self.events_of(chunk), chunk)
        async for chunk in self.chunks:
            await events.send(self.events_of(chunk), chunk)

    async def _until_first_token(self, events: Events) -> AsyncIterator[Chunk]:
        """Yields the chunks up to the first with content.

        While it waits, sends comments so that proxies keep the connection open. The first comment also sends the
        headers of a successful response, because an invalid request would have failed long before.
        """
        while True:
            waiting = asyncio.ensure_future(anext(self.chunks, None))
            try:
                while not (await asyncio.wait({waiting}, timeout=self.keep_alive))[0]:
                    await events.send(KEEP_ALIVE)
                chunk = waiting.result()
            finally:
                waiting.cancel()
                await asyncio.gather(waiting, return_exceptions=True)
            if chunk is None:
                return
            yield chunk
            if self.has_output(chunk):
                return

    def has_output(self, chunk: Any) -> bool:
        """Returns whether a chunk has more than roles."""
        return not all(choice.delta.role for choice in chunk.choices)

    def events_of(self, chunk: Any) -> str:
        """Returns the events of a chunk."""
        return _event(chunk_to_json(chunk, self.include_usage))

    def ending(self) -> str:
        """Returns the events after the last chunk of a complete answer."""
        return DONE

    def failure(self, error: ChatError) -> str:
        """Returns the events that report an error once the response has begun."""
        return _event(error_to_json(error))


class TextEventStream(EventStream):
    """An `EventStream` of the parts of text completions."""

    def events_of(self, chunk: Any) -> str:
        return _event(text_part_to_json(chunk, self.include_usage))

    def has_output(self, chunk: Any) -> bool:
        return True


class Events:
    """A writer of server-sent events. The first event starts the response.

    Args:
        send: sends an ASGI message.
    """

    def __init__(self, send: Send):
        self._send = send
        self.started = False

    async def send(self, text: str, first: Chunk | None = None) -> None:
        if not self.started:
            await self._start(first)
        await self._send({"type": "http.response.body", "body": text.encode(), "more_body": True})

    async def end(self, text: str) -> None:
        await self.send(text)
        await self._send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _start(self, first: Chunk | None) -> None:
        self.started = True
        headers = HEADERS | {"content-type": CONTENT_TYPE} | (seed_header(first) if first else {})
        raw = [(key.encode(), value.encode()) for key, value in headers.items()]
        await self._send({"type": "http.response.start", "status": 200, "headers": raw})


def _event(value: Any) -> str:
    return f"data: {dump(value)}\n\n"
