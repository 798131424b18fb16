"""Calls an ASGI application in this process, without a socket."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from typing import Any

from starlette.types import ASGIApp, Message


async def post(app: ASGIApp, path: str, body: bytes, headers: Mapping[str, str]) -> AsyncGenerator[Message, None]:
    """Sends a POST request with a JSON body and yields the ASGI messages of the response.

    A caller that closes the generator early cancels the request. An exception of the application is raised.

    Args:
        app: the application.
        path: the path of the request.
        body: the JSON text.
        headers: headers of the request. Those that describe a body, such as `content-length`, are ignored.
    """
    about_body = ("content-type", "content-length", "content-encoding", "transfer-encoding")
    pairs = [(name.lower(), value) for name, value in headers.items() if name.lower() not in about_body]
    pairs.append(("content-type", "application/json"))
    scope: dict[str, Any] = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "headers": [(name.encode("latin-1"), value.encode("latin-1")) for name, value in pairs],
    }
    requests = [{"type": "http.request", "body": body, "more_body": False}]
    responses: asyncio.Queue[Message | None] = asyncio.Queue(1)  # the application waits for a slow reader

    async def receive() -> Message:
        if requests:
            return requests.pop()
        await asyncio.Event().wait()  # the client stays; a cancelled task ends the wait
        raise AssertionError("unreachable")

    async def run() -> None:
        await app(scope, receive, responses.put)
        await responses.put(None)

    task = asyncio.create_task(run())
    try:
        while message := await _next(responses, task):
            yield message
    finally:
        task.cancel()
        await asyncio.wait({task})


async def _next(responses: asyncio.Queue[Message | None], task: asyncio.Task[None]) -> Message | None:
    """Returns the next message, or None after the last. Raises the exception of the task if it failed."""
    waiting = asyncio.ensure_future(responses.get())
    try:
        await asyncio.wait({waiting, task}, return_when=asyncio.FIRST_COMPLETED)
        if not waiting.done():
            await task
        return await waiting
    finally:
        waiting.cancel()
