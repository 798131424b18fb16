"""The blocking client."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import Any, Literal, Self, overload

import grpc

from jaxchat import v1
from jaxchat.client.common import CHANNEL_OPTIONS, error_of, metadata_for
from jaxchat.openai_json import request_from_kwargs
from jaxchat.v1.service_pb2_grpc import ChatServiceStub


class ChunkStream(Iterator[v1.ChatCompletionChunk]):
    """Chunks of a streamed answer. Closing it, or leaving its `with` block, cancels the answer.

    It is made when the first chunk is here, so that a refused request raises from `create`.
    """

    def __init__(self, call: Any):
        self._call = call
        self._first = self._receive()

    def __next__(self) -> v1.ChatCompletionChunk:
        chunk, self._first = self._first, None
        chunk = chunk or self._receive()
        if chunk is None:
            raise StopIteration
        return chunk

    def _receive(self) -> v1.ChatCompletionChunk | None:
        try:
            return next(self._call, None)
        except grpc.RpcError as error:
            raise error_of(error) from None

    def close(self) -> None:
        self._call.cancel()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Completions:
    """`client.chat.completions`."""

    def __init__(self, client: Client):
        self._client = client

    @overload
    def create(
        self, *, stream: Literal[False] | None = None, timeout: float | None = None, **fields: Any
    ) -> v1.ChatCompletion: ...

    @overload
    def create(self, *, stream: Literal[True], timeout: float | None = None, **fields: Any) -> ChunkStream: ...

    def create(
        self, *, stream: bool | None = None, timeout: float | None = None, **fields: Any
    ) -> v1.ChatCompletion | ChunkStream:
        """An answer, or with `stream=True` an iterator of its chunks.

        `fields` are those of the chat completions API (`model`, `messages`, `temperature` ...); `timeout` is in
        seconds. Raises `jaxchat.errors.ChatError`.
        """
        parsed = request_from_kwargs(stream=stream, **fields)
        if parsed.stream:
            return self._client.stream(parsed.request, timeout=timeout)
        return self._client.complete(parsed.request, timeout=timeout)


class Chat:
    """`client.chat`."""

    def __init__(self, client: Client):
        self.completions = Completions(client)


class Models:
    """`client.models`."""

    def __init__(self, client: Client):
        self._client = client

    def list(self) -> list[v1.Model]:
        """Raises `ChatError`."""
        return list(self._client.call("ListModels", v1.ListModelsRequest()).models)

    def retrieve(self, model: str) -> v1.Model:
        """Raises `ChatError` (404) for an unknown id."""
        result: v1.Model = self._client.call("GetModel", v1.GetModelRequest(model=model))
        return result


class Client:
    """A connection to a jaxchat server, usable from many threads.

    `target` is a gRPC target such as `host:port`; `api_key` goes with every call, and `headers` do; `credentials`, from
    `jaxchat.client.tls_credentials`, switch on TLS; `timeout` in seconds holds for calls without their own.
    """

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
            self._channel = grpc.insecure_channel(target, options=CHANNEL_OPTIONS)
        else:
            self._channel = grpc.secure_channel(target, credentials, options=CHANNEL_OPTIONS)
        self._stub = ChatServiceStub(self._channel)  # type: ignore[no-untyped-call]
        self._metadata = metadata_for(api_key, headers)
        self._timeout = timeout
        self.chat = Chat(self)
        self.models = Models(self)

    def complete(self, request: v1.ChatCompletionRequest, *, timeout: float | None = None) -> v1.ChatCompletion:
        """The whole answer. Raises `ChatError`."""
        result: v1.ChatCompletion = self.call("Complete", request, timeout)
        return result

    def stream(self, request: v1.ChatCompletionRequest, *, timeout: float | None = None) -> ChunkStream:
        """The answer in chunks. Raises `ChatError`, here or while iterating."""
        seconds = self._timeout if timeout is None else timeout
        return ChunkStream(self._stub.Stream(request, timeout=seconds, metadata=self._metadata))

    def call(self, method: str, request: Any, timeout: float | None = None) -> Any:
        """Calls a unary method of the service by name. Raises `ChatError`."""
        seconds = self._timeout if timeout is None else timeout
        try:
            return getattr(self._stub, method)(request, timeout=seconds, metadata=self._metadata)
        except grpc.RpcError as error:
            raise error_of(error) from None

    def close(self) -> None:
        self._channel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
