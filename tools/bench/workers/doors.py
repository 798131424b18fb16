"""Runs jaxchat's server in a separate process, and sends it requests over gRPC or REST."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx

import jaxchat
from jaxchat.arithmetic import cdiv
from jaxchat.client import AsyncClient
from serving.cli.flags import to_flags
from tools.bench.text import LETTERS_PER_TOKEN, prompt_text
from tools.bench.workers.engine_config import engine_config
from tools.bench.workers.line import Clock, Request, Settings, Times, serve
from tools.server_process import ServerProcess


class Doors:
    """A server process and its clients. `settings.way` is `grpc` or `rest`."""

    def __init__(self, settings: Settings) -> None:
        self._server = ServerProcess(
            "--model", settings.model, *to_flags(engine_config(settings)), "--startup-prompt", "none"
        )
        self._way = settings.way
        self.version = jaxchat.__version__

    def run(self, requests: list[Request]) -> Times:
        return asyncio.run(self._run(requests))

    def close(self) -> None:
        self._server.stop()

    async def _run(self, requests: list[Request]) -> Times:
        limits = httpx.Limits(max_connections=None)
        async with (
            AsyncClient(self._server.grpc) as client,
            httpx.AsyncClient(base_url=self._server.rest, trust_env=False, timeout=None, limits=limits) as http,
        ):
            clock = Clock()
            return await asyncio.gather(*(self._one(request, clock, client, http) for request in requests))

    async def _one(self, request: Request, clock: Clock, client: AsyncClient, http: httpx.AsyncClient) -> list[float]:
        await asyncio.sleep(max(request.at - clock.now(), 0.0))
        fields = {
            "model": self._server.model,
            "messages": [{"role": "user", "content": prompt_text(request.prompt)}],
            "max_tokens": request.tokens,
            "temperature": 0,
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        parts = _typed(client, fields) if self._way == "grpc" else _events(http, fields)
        times: list[float] = []
        counted = (0, 0)
        async for text, usage in parts:
            counted = usage or counted
            times += [clock.now()] * cdiv(len(text), LETTERS_PER_TOKEN)
        if counted != (len(request.prompt), request.tokens):
            raise RuntimeError(f"asked for {len(request.prompt)} and {request.tokens} tokens, the usage was {counted}")
        # Nearly every token has the same number of letters; the few that do not would shift the count by one or two.
        return (times + times[-1:] * request.tokens)[: request.tokens]


Parts = AsyncIterator[tuple[str, tuple[int, int] | None]]


async def _typed(client: AsyncClient, fields: dict[str, Any]) -> Parts:
    async for chunk in await client.chat.completions.create(**fields):
        text = "".join(choice.delta.content or "" for choice in chunk.choices)
        usage = (chunk.usage.prompt_tokens, chunk.usage.completion_tokens) if chunk.usage else None
        yield text, usage


async def _events(http: httpx.AsyncClient, fields: dict[str, Any]) -> Parts:
    async with http.stream("POST", "/chat/completions", json=fields) as reply:
        async for line in reply.aiter_lines():
            if not line.startswith("data: {"):
                continue
            chunk = json.loads(line.removeprefix("data: "))
            text = "".join(choice["delta"].get("content") or "" for choice in chunk["choices"])
            usage = chunk.get("usage")
            yield text, (usage["prompt_tokens"], usage["completion_tokens"]) if usage else None


if __name__ == "__main__":
    serve(Doors)
