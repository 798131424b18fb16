"""API keys on the REST front door."""

from __future__ import annotations

from collections.abc import Collection

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from jaxchat.errors import ChatError
from serving.auth import ApiKeys
from serving.rest.replies import error_response


class RequireKey:
    """ASGI middleware: answers 401, before anything of the body is read, to requests without a key."""

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
