"""ASGI middleware of the REST server: unexpected exceptions, standard headers, API keys."""

from __future__ import annotations

import logging
import time
from collections.abc import Collection

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from jaxchat import v1
from jaxchat.errors import ChatError, internal
from serving.auth import ApiKeys
from serving.backend import request_id_from
from serving.rest.responses import error_response

log = logging.getLogger(__name__)


class AnswerFailures:
    """ASGI middleware that logs an unexpected exception and answers with status 500.

    If the response has begun, raises the exception instead. The HTTP server then closes the connection, which shows the
    client that the response is incomplete.

    Starlette's own handler also answers with status 500, but then raises the exception again. The HTTP server would
    close the connection without `connection: close`. The next request of a client that keeps connections would fail.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = False

        async def watched_send(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await self._app(scope, receive, watched_send)
        except Exception:
            if started or scope["type"] != "http":
                raise
            log.exception("request %s failed", scope.get("state", {}).get("request_id", ""))
            await error_response(internal())(scope, receive, send)


class StandardHeaders:
    """ASGI middleware that stores the request id in `scope["state"]` and adds the standard response headers."""

    def __init__(self, app: ASGIApp):
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.monotonic()
        request_id = request_id_from(Headers(scope=scope).get("x-request-id"))
        scope.setdefault("state", {})["request_id"] = request_id

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers["x-request-id"] = request_id
                headers["openai-version"] = "2020-10-01"
                headers["openai-processing-ms"] = str(round((time.monotonic() - started) * 1000))
            await send(message)

        await self._app(scope, receive, send_with_headers)


def seed_header(answer: v1.ChatCompletion | v1.ChatCompletionChunk | v1.TextCompletion) -> dict[str, str]:
    """Returns the header with the seed of an answer, because the JSON objects have no field for it."""
    return {"x-jaxchat-seed": str(answer.seed_used)} if answer.HasField("seed_used") else {}


class RequireKey:
    """ASGI middleware that answers requests without a valid key with status 401, before it reads the body.

    Args:
        app: the application.
        keys: valid API keys.
        open_paths: paths that do not require a key.
    """

    def __init__(self, app: ASGIApp, keys: ApiKeys, *, open_paths: Collection[str]):
        self._app = app
        self._keys = keys
        self._open_paths = open_paths

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] not in self._open_paths:
            try:
                self._keys.check(Headers(scope=scope).get("authorization", ""))
            except ChatError as error:
                await error_response(error, {"www-authenticate": "Bearer"})(scope, receive, send)
                return
        await self._app(scope, receive, send)
