"""Several models as one backend: each request goes to the session of the model that it names."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import aclosing, contextmanager
from typing import Any

from jaxchat import v1
from jaxchat.chat.context import RequestContext
from jaxchat.chat.request.validate import check_model
from jaxchat.errors import ChatError, missing, model_not_found
from serving.backend import Session

_NamesModel = v1.TokenizeRequest | v1.DetokenizeRequest | v1.GetCapabilitiesRequest


class ModelRouter:
    """A `serving.backend.LocalBackend` of several models. Each model has its own session and engine.

    It is ready while all sessions are ready. If a request for an answer or for a rendered prompt names an unknown
    model, the first session refuses it, so that its logs and metrics include the request. The router itself refuses
    other requests that name an unknown model. The error lists the names of all models.

    Args:
        sessions: at least one session. No two sessions have a name in common.
    """

    def __init__(self, sessions: Sequence[Session]) -> None:
        self._sessions = sessions
        self._by_name = {name: session for session in sessions for name in session.info.names}

    @property
    def ready(self) -> bool:
        return all(session.ready for session in self._sessions)

    async def start(self) -> None:
        for session in self._sessions:
            await session.start()

    async def drain(self, shutdown_grace: float) -> None:
        await asyncio.gather(*(session.drain(shutdown_grace) for session in self._sessions))

    async def close(self) -> None:
        await asyncio.gather(*(session.close() for session in self._sessions))

    async def models(self, call: RequestContext) -> list[v1.Model]:
        return [model for session in self._sessions for model in await session.models(call)]

    async def complete(self, request: v1.ChatCompletionRequest, call: RequestContext) -> v1.ChatCompletion:
        with self._named(request.model) as session:
            return await session.complete(request, call)

    async def stream(
        self, request: v1.ChatCompletionRequest, call: RequestContext
    ) -> AsyncGenerator[v1.ChatCompletionChunk, None]:
        with self._named(request.model) as session:
            chunks: Any = session.stream(request, call)  # has `aclose`
            async with aclosing(chunks):
                async for chunk in chunks:
                    yield chunk

    async def complete_text(self, request: v1.TextCompletionRequest, call: RequestContext) -> v1.TextCompletion:
        with self._named(request.model) as session:
            return await session.complete_text(request, call)

    async def stream_text(
        self, request: v1.TextCompletionRequest, call: RequestContext
    ) -> AsyncGenerator[v1.TextCompletion, None]:
        with self._named(request.model) as session:
            parts: Any = session.stream_text(request, call)  # has `aclose`
            async with aclosing(parts):
                async for part in parts:
                    yield part

    async def tokenize(self, request: v1.TokenizeRequest, call: RequestContext) -> v1.TokenizeResponse:
        return await self._required(request).tokenize(request, call)

    async def detokenize(self, request: v1.DetokenizeRequest, call: RequestContext) -> v1.DetokenizeResponse:
        return await self._required(request).detokenize(request, call)

    async def render(self, request: v1.RenderRequest, call: RequestContext) -> v1.RenderResponse:
        completion = request.text if request.WhichOneof("request") == "text" else request.chat
        with self._named(completion.model) as session:
            return await session.render(request, call)

    async def capabilities(self, request: v1.GetCapabilitiesRequest, call: RequestContext) -> v1.Capabilities:
        return await self._required(request).capabilities(request, call)

    @contextmanager
    def _named(self, name: str) -> Iterator[Session]:
        """Yields the session of the model `name`, or the first session if the name is unknown.

        If a session reports an unknown model, raises an error that lists the names of all models instead.
        """
        try:
            yield self._by_name.get(name, self._sessions[0])
        except ChatError as error:
            if error.code == "model_not_found":
                raise model_not_found(name, self._by_name) from None
            raise

    def _required(self, request: _NamesModel) -> Session:
        """Returns the session that a request names. A server of one model would not require the name.

        Raises:
            ChatError: 400 if the request names no model, 404 if it names an unknown one.
        """
        if not request.model:
            raise missing("model", f"This server has several models: {', '.join(sorted(self._by_name))}.")
        check_model(request, self._by_name)
        return self._by_name[request.model]
