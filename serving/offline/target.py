"""Answers requests from files, with a REST application in this process or through a server."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import aiohttp

Message = MutableMapping[str, Any]
App = Callable[..., Awaitable[None]]


class Unreachable(ConnectionError):
    """The error for a server that cannot be reached, or that closed the connection without an answer."""


class EngineFailed(ConnectionError):
    """The error for an engine in this process that has failed."""


@dataclass
class Reply:
    """An HTTP response. Names of headers are in lower case."""

    status: int = 500
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


class Target(Protocol):
    """A service that answers HTTP requests with a JSON body."""

    async def send(self, method: str, path: str, body: bytes = b"", request_id: str = "") -> Reply:
        """Sends a request and returns the response, whatever its status.

        Args:
            method: GET or POST.
            path: the path, as `/v1/chat/completions`.
            body: the JSON body of a POST.
            request_id: the header `x-request-id`; "" for none.

        Raises:
            EngineFailed: the engine in this process has stopped.
            Unreachable: the server did not answer.
        """


class AppTarget:
    """An ASGI application in this process. It validates and answers as a server does, with the same words.

    Args:
        app: the application.
        failed: returns whether the application's engine has failed.
    """

    def __init__(self, app: App, failed: Callable[[], bool]) -> None:
        self._app = app
        self._failed = failed

    async def send(self, method: str, path: str, body: bytes = b"", request_id: str = "") -> Reply:
        reply, parts, ended = Reply(), bytearray(), asyncio.Event()
        messages = [{"type": "http.request", "body": body, "more_body": False}]

        async def receive() -> Message:
            if messages:
                return messages.pop()
            await ended.wait()  # this client never disconnects early
            return {"type": "http.disconnect"}

        async def send(message: Message) -> None:
            if message["type"] == "http.response.start":
                reply.status = message["status"]
                reply.headers = {key.decode().lower(): value.decode() for key, value in message["headers"]}
            else:
                parts.extend(message.get("body", b""))

        await self._app(_scope(method, path, request_id), receive, send)
        ended.set()
        if reply.status >= 500 and self._failed():
            raise EngineFailed("the engine failed")
        reply.body = bytes(parts)
        return reply


def _scope(method: str, path: str, request_id: str) -> dict[str, Any]:
    headers = [(b"content-type", b"application/json")]
    if request_id:
        headers.append((b"x-request-id", request_id.encode()))
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "scheme": "http",
        "method": method,
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "query_string": b"",
        "headers": headers,
        "client": None,
        "server": None,
    }


class UrlTarget:
    """A server, over HTTP.

    Args:
        session: the connections to the server.
        base: URL of the server without the path of the API.
    """

    def __init__(self, session: aiohttp.ClientSession, base: str) -> None:
        self._session = session
        self._base = base

    async def send(self, method: str, path: str, body: bytes = b"", request_id: str = "") -> Reply:
        import aiohttp

        headers = {"x-request-id": request_id} if request_id else {}
        try:
            async with self._session.request(method, self._base + path, data=body or None, headers=headers) as response:
                values = {key.lower(): value for key, value in response.headers.items()}
                return Reply(response.status, values, await response.read())
        except (aiohttp.ClientError, TimeoutError) as error:
            raise Unreachable(f"{self._base}: {error or type(error).__name__}") from None
