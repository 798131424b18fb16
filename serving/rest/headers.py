"""Headers that every response carries."""

from __future__ import annotations

import time

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from jaxchat import v1
from serving.backend import request_id_from


class StandardHeaders:
    """ASGI middleware: names the request in `scope["state"]` and adds the standard headers to its response."""

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


def seed_header(answer: v1.ChatCompletion | v1.ChatCompletionChunk) -> dict[str, str]:
    """The seed that was used goes into a header: the JSON objects have no place for it."""
    return {"x-jaxchat-seed": str(answer.seed_used)} if answer.HasField("seed_used") else {}
