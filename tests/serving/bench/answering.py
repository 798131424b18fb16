"""A small server of the OpenAI API, by aiohttp, whose answers tests control."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web

Respond = Callable[[web.Request, dict[str, Any]], Awaitable[web.StreamResponse]]


def event(value: Any) -> bytes:
    return f"data: {value if isinstance(value, str) else json.dumps(value)}\n\n".encode()


def words_of(body: dict[str, Any]) -> int:
    """Returns the number of words of a request's prompt."""
    text = body["prompt"] if "prompt" in body else body["messages"][0]["content"]
    return len(text.split())


def good_events(body: dict[str, Any]) -> list[bytes]:
    """Returns an answer: a token an event. A prompt has 5 tokens, and 2 for each word."""
    usage = {"prompt_tokens": 5 + 2 * words_of(body), "completion_tokens": body["max_tokens"]}
    part: dict[str, Any] = {"text": "a"} if "prompt" in body else {"delta": {"content": "a"}}
    role = {"choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}}]}
    token = {"choices": [{"index": 0, **part}], "usage": None}
    return [event(role), *[event(token)] * body["max_tokens"], event({"choices": [], "usage": usage}), event("[DONE]")]


async def stream(request: web.Request, events: list[bytes]) -> web.StreamResponse:
    response = web.StreamResponse(headers={"content-type": "text/event-stream"})
    await response.prepare(request)
    for each in events:
        await response.write(each)
        await asyncio.sleep(0)
    return response


async def well(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
    return await stream(request, good_events(body))


class Answering:
    """The server. `bodies` has the requests that came, `open` the number that have no answer yet."""

    def __init__(self, respond: Respond = well) -> None:
        self.bodies: list[dict[str, Any]] = []
        self.keys: list[str | None] = []
        self.open = self.most_open = 0
        self.url = ""
        self._respond = respond

    async def handle(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        self.bodies.append(body | {"path": request.path})
        self.keys.append(request.headers.get("authorization"))
        self.open += 1
        self.most_open = max(self.most_open, self.open)
        try:
            return await self._respond(request, body)
        finally:
            self.open -= 1

    async def models(self, request: web.Request) -> web.StreamResponse:
        return web.json_response({"data": [{"id": "listed"}, {"id": "second"}]})


@asynccontextmanager
async def answering(respond: Respond = well) -> AsyncIterator[Answering]:
    """Yields a running server on a free port."""
    server = Answering(respond)
    app = web.Application()
    app.router.add_post("/v1/chat/completions", server.handle)
    app.router.add_post("/v1/completions", server.handle)
    app.router.add_get("/v1/models", server.models)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    server.url = f"http://{host}:{port}"
    try:
        yield server
    finally:
        await runner.cleanup()
