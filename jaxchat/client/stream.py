"""Streamed answers as iterators of typed chunks."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Iterator
from types import TracebackType
from typing import Any, Self, TypeVar

from jaxchat.client.chunk import ChatCompletionChunk
from jaxchat.client.text_completion import TextCompletion
from jaxchat.client.transport import AsyncChunkStream, ChunkStream

PartT = TypeVar("PartT")


class Parts(Iterator[PartT], ABC):
    """The parts of a streamed answer. Closing the stream, or leaving its `with` block, cancels the answer.

    The constructor waits for the first chunk, so that `create` raises the error of a rejected request. Iteration raises
    `ChatError` if the answer fails.

    Args:
        chunks: the protobuf chunks.
        include_usage: whether `model_dump()` of every chunk has the key `usage`.
    """

    def __init__(self, chunks: ChunkStream[Any], *, include_usage: bool) -> None:
        self._chunks = chunks
        self._include_usage = include_usage
        self._closed = False
        self._first = _next_or_none(chunks)

    @abstractmethod
    def _typed(self, chunk: Any, include_usage: bool) -> PartT:
        """Returns a protobuf message as a typed object."""

    def __next__(self) -> PartT:
        if self._closed:
            raise StopIteration
        chunk, self._first = self._first, None
        if chunk is None:
            chunk = self._chunks.__next__()
        return self._typed(chunk, self._include_usage)

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


class Stream(Parts[ChatCompletionChunk]):
    """The chunks of a streamed answer. Closing the stream, or leaving its `with` block, cancels the answer."""

    def _typed(self, chunk: Any, include_usage: bool) -> ChatCompletionChunk:
        return ChatCompletionChunk.from_proto(chunk, include_usage=include_usage)


class TextStream(Parts[TextCompletion]):
    """The parts of streamed text completions. Closing the stream, or leaving its `with` block, cancels them."""

    def _typed(self, chunk: Any, include_usage: bool) -> TextCompletion:
        return TextCompletion.from_proto(chunk, include_usage=include_usage)


def _next_or_none(chunks: ChunkStream[Any]) -> Any:
    try:
        return chunks.__next__()
    except StopIteration:
        return None


class AsyncParts(AsyncIterator[PartT], ABC):
    """The parts of a streamed answer. Closing the stream, or leaving its `async with` block, cancels the answer.

    Iteration raises `ChatError` if the answer fails.

    Args:
        chunks: the protobuf chunks.
        include_usage: whether `model_dump()` of every chunk has the key `usage`.
    """

    def __init__(self, chunks: AsyncChunkStream[Any], *, include_usage: bool) -> None:
        self._chunks = chunks
        self._include_usage = include_usage
        self._closed = False
        self._first: Any = None

    async def open(self) -> Self:
        """Waits for the first chunk, so that `create` raises the error of a rejected request. Returns the stream."""
        try:
            self._first = await self._chunks.__anext__()
        except StopAsyncIteration:
            self._closed = True
        return self

    @abstractmethod
    def _typed(self, chunk: Any, include_usage: bool) -> PartT:
        """Returns a protobuf message as a typed object."""

    async def __anext__(self) -> PartT:
        if self._closed:
            raise StopAsyncIteration
        chunk, self._first = self._first, None
        if chunk is None:
            chunk = await self._chunks.__anext__()
        return self._typed(chunk, self._include_usage)

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


class AsyncStream(AsyncParts[ChatCompletionChunk]):
    """The chunks of a streamed answer. Closing the stream, or leaving its `async with` block, cancels the answer."""

    def _typed(self, chunk: Any, include_usage: bool) -> ChatCompletionChunk:
        return ChatCompletionChunk.from_proto(chunk, include_usage=include_usage)


class AsyncTextStream(AsyncParts[TextCompletion]):
    """The parts of streamed text completions. Closing the stream, or leaving its `async with` block, cancels them."""

    def _typed(self, chunk: Any, include_usage: bool) -> TextCompletion:
        return TextCompletion.from_proto(chunk, include_usage=include_usage)
