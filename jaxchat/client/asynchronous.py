"""The asyncio client: the blocking client's shape with `await`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from types import TracebackType
from typing import Any, Literal, Self, overload

import grpc

from jaxchat import v1
from jaxchat.client.common import CHANNEL_OPTIONS, error_of, metadata_for
from jaxchat.openai_json import request_from_kwargs
from jaxchat.v1.service_pb2_grpc import ChatServiceStub


class AsyncChunkStream(AsyncIterator[v1.ChatCompletionChunk]):
    """Chunks of a streamed answer. Closing it, or leaving its `async with` block, cancels the answer."""

    def __init__(self, call: Any):
        self._call = call
        self._chunks = aiter(call)
        self._first: v1.ChatCompletionChunk | None = None

    async def open(self) -> Self:
        """Waits for the first chunk, so that a refused request raises from `create`."""
        self._first = await self._receive()
        return self

    async def __anext__(self) -> v1.ChatCompletionChunk:
        chunk, self._first = self._first, None
        chunk = chunk or await self._receive()
        if chunk is None:
            raise StopAsyncIteration
        return chunk

    async def _receive(self) -> v1.ChatCompletionChunk | None:
        try:
            return await anext(self._chunks, None)
        except grpc.RpcError as error:
            raise error_of(error) from None

    async def aclose(self) -> None:
        self._call.cancel()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()


class AsyncCompletions:
    """`client.chat.completions`."""

    def __init__(self, client: AsyncClient):
        self._client = client

    @overload
    async def create(
        self, *, stream: Literal[False] | None = None, timeout: float | None = None, **fields: Any
    ) -> v1.ChatCompletion: ...

    @overload
    async def create(
        self, *, stream: Literal[True], timeout: float | None = None, **fields: Any
    ) -> AsyncChunkStream: ...

    async def create(
        self, *, stream: bool | None = None, timeout: float | None = None, **fields: Any
    ) -> v1.ChatCompletion | AsyncChunkStream:
        """As `Client.chat.completions.create`. Cancelling the task cancels the answer. Raises `ChatError`."""
        parsed = request_from_kwargs(stream=stream, **fields)
        if parsed.stream:
            return await self._client.stream(parsed.request, timeout=timeout)
        return await self._client.complete(parsed.request, timeout=timeout)


class AsyncChat:
    """`client.chat`."""

    def __init__(self, client: AsyncClient):
        self.completions = AsyncCompletions(client)


class AsyncModels:
    """`client.models`."""

    def __init__(self, client: AsyncClient):
        self._client = client

    async def list(self) -> list[v1.Model]:
        """Raises `ChatError`."""
        return list((await self._client.call("ListModels", v1.ListModelsRequest())).models)

    async def retrieve(self, model: str) -> v1.Model:
        """Raises `ChatError` (404) for an unknown id."""
        result: v1.Model = await self._client.call("GetModel", v1.GetModelRequest(model=model))
        return result


class AsyncClient:
    """A connection to a jaxchat server, for one asyncio loop. Arguments as `Client`."""

    def __init__(
        self,
        target: str,
        *,
        api_key: str | None = None,
        credentials: grpc.ChannelCredentials | None = None,
        timeout: float | None = None,
        headers: Mapping[str, str] | None = None,
    ):
        if credentials is None:
            self._channel = grpc.aio.insecure_channel(target, options=CHANNEL_OPTIONS)
        else:
            self._channel = grpc.aio.secure_channel(target, credentials, options=CHANNEL_OPTIONS)
        self._stub = ChatServiceStub(self._channel)  # type: ignore[no-untyped-call]
        self._metadata = metadata_for(api_key, headers)
        self._timeout = timeout
        self.chat = AsyncChat(self)
        self.models = AsyncModels(self)

    async def complete(self, request: v1.ChatCompletionRequest, *, timeout: float | None = None) -> v1.ChatCompletion:
        """The whole answer. Raises `ChatError`."""
        result: v1.ChatCompletion = await self.call("Complete", request, timeout)
        return result

    async def stream(self, request: v1.ChatCompletionRequest, *, timeout: float | None = None) -> AsyncChunkStream:
        """The answer in chunks. Raises `ChatError`, here or while iterating."""
        seconds = self._timeout if timeout is None else timeout
        return await AsyncChunkStream(self._stub.Stream(request, timeout=seconds, metadata=self._metadata)).open()

    async def call(self, method: str, request: Any, timeout: float | None = None) -> Any:
        """Calls a unary method of the service by name. Raises `ChatError`."""
        seconds = self._timeout if timeout is None else timeout
        try:
            return await getattr(self._stub, method)(request, timeout=seconds, metadata=self._metadata)
        except grpc.RpcError as error:
            raise error_of(error) from None

    async def close(self) -> None:
        await self._channel.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()
