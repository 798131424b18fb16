"""What the servers need from whatever answers chats: the session in this process, or a client of another."""

from __future__ import annotations

import re
import secrets
from collections.abc import AsyncIterator
from typing import Protocol

from jaxchat import v1
from jaxchat.errors import model_not_found

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


class ChatBackend(Protocol):
    """Answers chats. All methods run on one asyncio loop; cancelling a call frees its place at once."""

    @property
    def ready(self) -> bool:
        """Whether new requests are taken."""

    def models(self) -> list[v1.Model]:
        """The models that requests may name."""

    async def complete(self, request: v1.ChatCompletionRequest, *, request_id: str) -> v1.ChatCompletion:
        """The whole answer. Raises `ChatError`."""

    def stream(self, request: v1.ChatCompletionRequest, *, request_id: str) -> AsyncIterator[v1.ChatCompletionChunk]:
        """The answer in chunks. Raises `ChatError`, for invalid requests before the first chunk."""


def find_model(backend: ChatBackend, model_id: str) -> v1.Model:
    """Raises `ChatError` (404) when there is no such model."""
    models = backend.models()
    for model in models:
        if model.id == model_id:
            return model
    raise model_not_found(model_id, [model.id for model in models])


def request_id_from(given: str | None) -> str:
    """The client's own id where it is usable, else a new one."""
    if given and _REQUEST_ID.fullmatch(given):
        return given
    return f"req_{secrets.token_hex(12)}"
