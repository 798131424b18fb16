"""Transports to a server over gRPC."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Generic, TypedDict, TypeVar, Unpack

import grpc

from jaxchat import v1
from jaxchat.client.grpc_errors import error_of
from jaxchat.v1.service_pb2_grpc import ChatServiceStub

T = TypeVar("T")
Metadata = tuple[tuple[str, str], ...]

CHANNEL_OPTIONS: Sequence[tuple[str, int]] = (
    ("grpc.max_receive_message_length", 64 * 1024 * 1024),
    ("grpc.max_send_message_length", -1),  # the limit is a setting of the server
)


class GrpcOptions(TypedDict, total=False):
    """Options of a gRPC connection.

    `api_key` is sent with every call as a bearer token, and `headers` as metadata. `credentials`, from
    `tls_credentials`, turn on TLS. `timeout`, in seconds, is the limit of calls that set none; None means no limit.
    """

    api_key: str | None
    credentials: grpc.ChannelCredentials | None
    timeout: float | None
    headers: Mapping[str, str] | None


class _Connection:
    """The base of both gRPC transports: a channel, its stub, and the options of every call."""

    default_model = None

    def __init__(
        self,
        channels: Any,
        target: str,
        *,
        api_key: str | None = None,
        credentials: grpc.ChannelCredentials | None = None,
        timeout: float | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """Opens a channel, which connects at the first call. `channels` is the module `grpc` or `grpc.aio`."""
        if credentials is None:
            self._channel = channels.insecure_channel(target, options=CHANNEL_OPTIONS)
        else:
            self._channel = channels.secure_channel(target, credentials, options=CHANNEL_OPTIONS)
        self._target = target
        self._stub = ChatServiceStub(self._channel)  # type: ignore[no-untyped-call]
        self._timeout = timeout
        self._metadata = metadata_for(api_key, headers)

    def __repr__(self) -> str:
        return f"gRPC {self._target}"

    def _options(self, timeout: float | None) -> dict[str, Any]:
        """Returns the keyword arguments of a call. `timeout` is in seconds. None means the connection's timeout."""
        return {"timeout": self._timeout if timeout is None else timeout, "metadata": self._metadata}


class GrpcTransport(_Connection):
    """A gRPC connection to a jaxchat server, opened by the first call.

    Args:
        target: a gRPC target such as `host:port`.
        options: the fields of `GrpcOptions`.
    """

    def __init__(self, target: str, **options: Unpack[GrpcOptions]) -> None:
        super().__init__(grpc, target, **options)

    def complete(self, request: v1.ChatCompletionRequest, timeout: float | None = None) -> v1.ChatCompletion:
        return self._call(self._stub.Complete, request, timeout)

    def stream(
        self, request: v1.ChatCompletionRequest, timeout: float | None = None
    ) -> GrpcChunkStream[v1.ChatCompletionChunk]:
        return GrpcChunkStream(self._stub.Stream(request, **self._options(timeout)))

    def complete_text(self, request: v1.TextCompletionRequest, timeout: float | None = None) -> v1.TextCompletion:
        return self._call(self._stub.CompleteText, request, timeout)

    def stream_text(
        self, request: v1.TextCompletionRequest, timeout: float | None = None
    ) -> GrpcChunkStream[v1.TextCompletion]:
        return GrpcChunkStream(self._stub.StreamText(request, **self._options(timeout)))

    def tokenize(self, request: v1.TokenizeRequest) -> v1.TokenizeResponse:
        return self._call(self._stub.Tokenize, request)

    def detokenize(self, request: v1.DetokenizeRequest) -> v1.DetokenizeResponse:
        return self._call(self._stub.Detokenize, request)

    def list_models(self) -> list[v1.Model]:
        return list(self._call(self._stub.ListModels, v1.ListModelsRequest()).models)

    def close(self) -> None:
        self._channel.close()

    def _call(self, method: Any, request: Any, timeout: float | None = None) -> Any:
        try:
            return method(request, **self._options(timeout))
        except grpc.RpcError as error:
            raise error_of(error) from None


class GrpcChunkStream(Generic[T]):
    """The chunks of a streaming gRPC call."""

    def __init__(self, call: Any) -> None:
        self._call = call

    def __next__(self) -> T:
        try:
            while not (chunk := next(self._call)).ByteSize():
                pass  # Ray Serve sends an empty chunk before an error
        except grpc.RpcError as error:
            raise error_of(error) from None
        return chunk  # type: ignore[no-any-return]

    def close(self) -> None:
        self._call.cancel()


class AsyncGrpcTransport(_Connection):
    """A gRPC connection to a jaxchat server, for one asyncio loop.

    Args:
        target: a gRPC target such as `host:port`.
        options: the fields of `GrpcOptions`.
    """

    def __init__(self, target: str, **options: Unpack[GrpcOptions]) -> None:
        super().__init__(grpc.aio, target, **options)

    async def complete(self, request: v1.ChatCompletionRequest, timeout: float | None = None) -> v1.ChatCompletion:
        return await self._call(self._stub.Complete, request, timeout)

    def stream(
        self, request: v1.ChatCompletionRequest, timeout: float | None = None
    ) -> AsyncGrpcChunkStream[v1.ChatCompletionChunk]:
        return AsyncGrpcChunkStream(self._stub.Stream(request, **self._options(timeout)))

    async def complete_text(self, request: v1.TextCompletionRequest, timeout: float | None = None) -> v1.TextCompletion:
        return await self._call(self._stub.CompleteText, request, timeout)

    def stream_text(
        self, request: v1.TextCompletionRequest, timeout: float | None = None
    ) -> AsyncGrpcChunkStream[v1.TextCompletion]:
        return AsyncGrpcChunkStream(self._stub.StreamText(request, **self._options(timeout)))

    async def tokenize(self, request: v1.TokenizeRequest) -> v1.TokenizeResponse:
        return await self._call(self._stub.Tokenize, request)

    async def detokenize(self, request: v1.DetokenizeRequest) -> v1.DetokenizeResponse:
        return await self._call(self._stub.Detokenize, request)

    async def list_models(self) -> list[v1.Model]:
        return list((await self._call(self._stub.ListModels, v1.ListModelsRequest())).models)

    async def close(self) -> None:
        await self._channel.close()

    async def _call(self, method: Any, request: Any, timeout: float | None = None) -> Any:
        try:
            return await method(request, **self._options(timeout))
        except grpc.RpcError as error:
            raise error_of(error) from None


class AsyncGrpcChunkStream(Generic[T]):
    """The chunks of a streaming gRPC call, for one asyncio loop."""

    def __init__(self, call: Any) -> None:
        self._call = call
        self._chunks = aiter(call)

    async def __anext__(self) -> T:
        try:
            while not (chunk := await anext(self._chunks)).ByteSize():
                pass  # Ray Serve sends an empty chunk before an error
        except grpc.RpcError as error:
            raise error_of(error) from None
        return chunk  # type: ignore[no-any-return]

    async def aclose(self) -> None:
        self._call.cancel()


def metadata_for(api_key: str | None, headers: Mapping[str, str] | None) -> Metadata:
    """Returns the metadata of a call: `headers` with lower-case keys, and the API key as a bearer token."""
    pairs = [(key.lower(), value) for key, value in (headers or {}).items()]
    if api_key is not None:
        pairs.append(("authorization", f"Bearer {api_key}"))
    return tuple(pairs)
