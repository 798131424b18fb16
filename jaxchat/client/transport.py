"""Protocols of a client's connection to its engine. Transports carry protobuf messages and raise `ChatError`."""

from __future__ import annotations

from typing import Protocol

from jaxchat import v1
from jaxchat.errors import ChatError


class ChunkStream(Protocol):
    """Chunks of a streamed answer."""

    def __next__(self) -> v1.ChatCompletionChunk:
        """Returns the next chunk. Raises `ChatError`, and StopIteration at the end."""

    def close(self) -> None:
        """Cancels the answer, if it has not ended."""


class AsyncChunkStream(Protocol):
    """Chunks of a streamed answer, for one asyncio loop."""

    async def __anext__(self) -> v1.ChatCompletionChunk:
        """Returns the next chunk. Raises `ChatError`, and StopAsyncIteration at the end."""

    async def aclose(self) -> None:
        """Cancels the answer, if it has not ended."""


class Transport(Protocol):
    """A connection to an engine for blocking callers, usable from many threads.

    Timeouts are in seconds. None means the transport's own timeout, or no limit.
    """

    @property
    def default_model(self) -> str | None:
        """The model of a request that names none; None where requests must name one."""

    def complete(self, request: v1.ChatCompletionRequest, timeout: float | None = None) -> v1.ChatCompletion:
        """Returns the whole answer. Raises `ChatError`."""

    def stream(self, request: v1.ChatCompletionRequest, timeout: float | None = None) -> ChunkStream:
        """Begins a streamed answer. Errors come from the stream."""

    def list_models(self) -> list[v1.Model]:
        """Returns the models that requests may name. Raises `ChatError`."""

    def close(self) -> None:
        """Closes the connection or stops the engine. Open calls fail."""


class AsyncTransport(Protocol):
    """A connection to an engine for one asyncio loop. Cancelling a call cancels its answer.

    Timeouts are in seconds. None means the transport's own timeout, or no limit.
    """

    @property
    def default_model(self) -> str | None:
        """The model of a request that names none; None where requests must name one."""

    async def complete(self, request: v1.ChatCompletionRequest, timeout: float | None = None) -> v1.ChatCompletion:
        """Returns the whole answer. Raises `ChatError`."""

    def stream(self, request: v1.ChatCompletionRequest, timeout: float | None = None) -> AsyncChunkStream:
        """Begins a streamed answer. Errors come from the stream."""

    async def list_models(self) -> list[v1.Model]:
        """Returns the models that requests may name. Raises `ChatError`."""

    async def close(self) -> None:
        """Closes the connection or stops the engine. Open calls fail."""


def client_closed() -> ChatError:
    """Returns the error of a call on a client that was closed."""
    return ChatError("The client is closed.", None, "draining", "server_error", 503)
