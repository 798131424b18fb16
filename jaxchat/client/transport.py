"""Protocols of the connection from a client to an engine. Requests and answers are protobuf messages."""

from __future__ import annotations

from typing import Protocol

from jaxchat import v1
from jaxchat.errors import ChatError


class ChunkStream(Protocol):
    """The chunks of a streamed answer."""

    def __next__(self) -> v1.ChatCompletionChunk:
        """Returns the next chunk. Raises StopIteration after the last chunk, and `ChatError` if the answer fails."""

    def close(self) -> None:
        """Cancels the answer, if it has not ended."""


class AsyncChunkStream(Protocol):
    """The chunks of a streamed answer, for one asyncio loop."""

    async def __anext__(self) -> v1.ChatCompletionChunk:
        """Returns the next chunk. Raises StopAsyncIteration at the end, and `ChatError` if the answer fails."""

    async def aclose(self) -> None:
        """Cancels the answer, if it has not ended."""


class Transport(Protocol):
    """A connection to an engine for blocking callers, usable from several threads at once.

    Timeouts are in seconds. None means the transport's default timeout, or no limit if it has none.
    """

    @property
    def default_model(self) -> str | None:
        """The model of requests without `model`, or None if every request must name a model."""

    def complete(self, request: v1.ChatCompletionRequest, timeout: float | None = None) -> v1.ChatCompletion:
        """Returns the whole answer. Raises `ChatError` if the request fails or `timeout` passes."""

    def stream(self, request: v1.ChatCompletionRequest, timeout: float | None = None) -> ChunkStream:
        """Starts a streamed answer and returns its chunks.

        Reading them raises `ChatError` if the answer fails or `timeout` passes.
        """

    def list_models(self) -> list[v1.Model]:
        """Returns the models that requests may name. Raises `ChatError` if the call fails."""

    def close(self) -> None:
        """Closes a connection over gRPC, or stops an engine in this process. Unfinished calls fail."""


class AsyncTransport(Protocol):
    """A connection to an engine for one asyncio loop. Cancelling a call cancels its answer.

    Timeouts are in seconds. None means the transport's default timeout, or no limit if it has none.
    """

    @property
    def default_model(self) -> str | None:
        """The model of requests without `model`, or None if every request must name a model."""

    async def complete(self, request: v1.ChatCompletionRequest, timeout: float | None = None) -> v1.ChatCompletion:
        """Returns the whole answer. Raises `ChatError` if the request fails or `timeout` passes."""

    def stream(self, request: v1.ChatCompletionRequest, timeout: float | None = None) -> AsyncChunkStream:
        """Starts a streamed answer and returns its chunks.

        Reading them raises `ChatError` if the answer fails or `timeout` passes.
        """

    async def list_models(self) -> list[v1.Model]:
        """Returns the models that requests may name. Raises `ChatError` if the call fails."""

    async def close(self) -> None:
        """Closes a connection over gRPC, or stops an engine in this process. Unfinished calls fail."""


def client_closed() -> ChatError:
    """Returns the error of a call on a closed client."""
    return ChatError("The client is closed.", None, "draining", "server_error", 503)
