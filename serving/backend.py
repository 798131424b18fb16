"""What the servers need from whatever answers chats: the session in this process, or a client of another."""

from __future__ import annotations

import asyncio
import re
import secrets
from collections.abc import AsyncIterator
from typing import Protocol

from jaxchat import v1
from jaxchat.chat.context import Observer, RequestContext
from jaxchat.errors import model_not_found

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


class ChatBackend(Protocol):
    """Answers chats. All methods run on one asyncio loop; cancelling a call frees its place at once."""

    @property
    def ready(self) -> bool:
        """Whether new requests are taken."""

    async def models(self, call: RequestContext) -> list[v1.Model]:
        """The models that requests may name. Raises `ChatError`."""

    async def complete(self, request: v1.ChatCompletionRequest, call: RequestContext) -> v1.ChatCompletion:
        """The whole answer. Raises `ChatError`."""

    def stream(self, request: v1.ChatCompletionRequest, call: RequestContext) -> AsyncIterator[v1.ChatCompletionChunk]:
        """The answer in chunks. Raises `ChatError`, for invalid requests before the first chunk."""


class Load(Protocol):
    """A snapshot of an engine: sequences and KV pages."""

    @property
    def waiting(self) -> int: ...

    @property
    def running(self) -> int: ...

    @property
    def pages_in_use(self) -> int: ...

    @property
    def pages(self) -> int: ...

    @property
    def preemptions(self) -> int:
        """Sequences that were swapped out to host memory so far."""


class Session(ChatBackend, Protocol):
    """A backend with an engine of its own: what `jaxchat.api.load_session` returns."""

    @property
    def model_id(self) -> str: ...

    @property
    def failed(self) -> asyncio.Event:
        """Is set once the engine has ended without being asked to."""

    @property
    def observers(self) -> list[Observer]: ...

    @property
    def stats(self) -> Load: ...

    @property
    def compiles_after_ready(self) -> int: ...

    async def start(self) -> None: ...

    def fail(self) -> None:
        """Ends all requests as a failed engine does, without waiting for it."""

    def summary(self) -> list[tuple[str, str]]: ...

    async def drain(self, shutdown_grace: float) -> None: ...

    async def close(self) -> None: ...


async def find_model(backend: ChatBackend, model_id: str, call: RequestContext) -> v1.Model:
    """Raises `ChatError`, 404 when there is no such model."""
    models = await backend.models(call)
    for model in models:
        if model.id == model_id:
            return model
    raise model_not_found(model_id, [model.id for model in models])


def request_id_from(given: str | None) -> str:
    """The client's own id where it is usable, else a new one."""
    if given and _REQUEST_ID.fullmatch(given):
        return given
    return f"req_{secrets.token_hex(12)}"
