"""Protocols of the connection from a client to an engine. Requests and answers are protobuf messages."""

from __future__ import annotations

from typing import Protocol, TypeVar

from jaxchat import v1
from jaxchat.errors import ChatError

ProtoT = TypeVar("ProtoT", covariant=True)


class ChunkStream(Protocol[ProtoT]):
    """The chunks of a streamed answer, as protobuf messages."""

    def __next__(self) -> ProtoT:
        """Returns the next chunk. Raises StopIteration after the last chunk, and `ChatError` if the answer fails."""

    def close(self) -> None:
        """Cancels the answer, if it has not ended."""


class AsyncChunkStream(Protocol[ProtoT]):
    """The chunks of a streamed answer, as protobuf messages, for one asyncio loop."""

    async def __anext__(self) -> ProtoT:
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

    def stream(
        self, request: v1.ChatCompletionRequest, timeout: float | None = None
    ) -> ChunkStream[v1.ChatCompletionChunk]:
        """Returns the chunks of a streamed answer. The answer starts when the first chunk is read.

        Reading a chunk raises `ChatError` if the answer fails or `timeout` passes.
        """

    def complete_text(self, request: v1.TextCompletionRequest, timeout: float | None = None) -> v1.TextCompletion:
        """Returns whole text completions. Raises `ChatError` if the request fails or `timeout` passes."""

    def stream_text(
        self, request: v1.TextCompletionRequest, timeout: float | None = None
    ) -> ChunkStream[v1.TextCompletion]:
        """Returns the parts of streamed text completions. They start and fail in the same way as in `stream`."""

    def tokenize(self, request: v1.TokenizeRequest) -> v1.TokenizeResponse:
        """Returns the token ids of a text or of a conversation. Raises `ChatError` if the call fails."""

    def detokenize(self, request: v1.DetokenizeRequest) -> v1.DetokenizeResponse:
        """Returns the text of token ids. Raises `ChatError` if the call fails."""

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

    def stream(
        self, request: v1.ChatCompletionRequest, timeout: float | None = None
    ) -> AsyncChunkStream[v1.ChatCompletionChunk]:
        """Returns the chunks of a streamed answer. The answer starts when the first chunk is read.

        Reading a chunk raises `ChatError` if the answer fails or `timeout` passes.
        """

    async def complete_text(self, request: v1.TextCompletionRequest, timeout: float | None = None) -> v1.TextCompletion:
        """Returns whole text completions. Raises `ChatError` if the request fails or `timeout` passes."""

    def stream_text(
        self, request: v1.TextCompletionRequest, timeout: float | None = None
    ) -> AsyncChunkStream[v1.TextCompletion]:
        """Returns the parts of streamed text completions. They start and fail in the same way as in `stream`."""

    async def tokenize(self, request: v1.TokenizeRequest) -> v1.TokenizeResponse:
        """Returns the token ids of a text or of a conversation. Raises `ChatError` if the call fails."""

    async def detokenize(self, request: v1.DetokenizeRequest) -> v1.DetokenizeResponse:
        """Returns the text of token ids. Raises `ChatError` if the call fails."""

    async def list_models(self) -> list[v1.Model]:
        """Returns the models that requests may name. Raises `ChatError` if the call fails."""

    async def close(self) -> None:
        """Closes a connection over gRPC, or stops an engine in this process. Unfinished calls fail."""


def client_closed() -> ChatError:
    """Returns the error of a call on a closed client."""
    return ChatError("The client is closed.", None, "draining", "server_error", 503)
