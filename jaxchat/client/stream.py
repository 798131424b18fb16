"""Streamed answers as iterators of typed chunks."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from types import TracebackType
from typing import Self

from jaxchat import v1
from jaxchat.client.chunk import ChatCompletionChunk
from jaxchat.client.transport import AsyncChunkStream, ChunkStream


class Stream(Iterator[ChatCompletionChunk]):
    """The chunks of a streamed answer. Closing the stream, or leaving its `with` block, cancels the answer.

    The constructor waits for the first chunk, so that `create` raises the error of a rejected request. Iteration raises
    `ChatError` if the answer fails.

    Args:
        chunks: the protobuf chunks.
        include_usage: whether `model_dump()` of every chunk has the key `usage`.
    """

    def __init__(self, chunks: ChunkStream, *, include_usage: bool) -> None:
        self._chunks = chunks
        self._include_usage = include_usage
        self._closed = False
        self._first = _next_or_none(chunks)

    def __next__(self) -> ChatCompletionChunk:
        if self._closed:
            raise StopIteration
        chunk, self._first = self._first, None
        if chunk is None:
            chunk = self._chunks.__next__()
        return ChatCompletionChunk.from_proto(chunk, include_usage=self._include_usage)

    def close(self) -> None:
        """Cancels the answer, if it has not ended."""
        self._closed = True
        self._chunks.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _next_or_none(chunks: ChunkStream) -> v1.ChatCompletionChunk | None:
    try:
        return chunks.__next__()
    except StopIteration:
        return None


class AsyncStream(AsyncIterator[ChatCompletionChunk]):
    """The chunks of a streamed answer. Closing the stream, or leaving its `async with` block, cancels the answer.

    Iteration raises `ChatError` if the answer fails.

    Args:
        chunks: the protobuf chunks.
        include_usage: whether `model_dump()` of every chunk has the key `usage`.
    """

    def __init__(self, chunks: AsyncChunkStream, *, include_usage: bool) -> None:
        self._chunks = chunks
        self._include_usage = include_usage
        self._closed = False
        self._first: v1.ChatCompletionChunk | None = None

    async def open(self) -> Self:
        """Waits for the first chunk, so that `create` raises the error of a rejected request. Returns the stream."""
        try:
            self._first = await self._chunks.__anext__()
        except StopAsyncIteration:
            self._closed = True
        return self

    async def __anext__(self) -> ChatCompletionChunk:
        if self._closed:
            raise StopAsyncIteration
        chunk, self._first = self._first, None
        if chunk is None:
            chunk = await self._chunks.__anext__()
        return ChatCompletionChunk.from_proto(chunk, include_usage=self._include_usage)

    async def aclose(self) -> None:
        """Cancels the answer, if it has not ended."""
        self._closed = True
        await self._chunks.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()
