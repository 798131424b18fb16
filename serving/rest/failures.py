"""Unexpected exceptions on the REST front door."""

from __future__ import annotations

import logging

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from jaxchat.errors import internal
from serving.rest.replies import error_response

log = logging.getLogger(__name__)


class AnswerFailures:
    """ASGI middleware: logs an unexpected exception and answers 500.

    Starlette's own handler raises the exception again, after which the HTTP server closes the connection without a
    `connection: close` in the answer: the next request of a client that keeps connections would be reset. An exception
    after the response has begun is raised, so that the closed connection shows that the response is incomplete.
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
