"""Transports to a server over gRPC, or to several replicas of one."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable, Mapping
from typing import Any, TypedDict, TypeVar, Unpack

import grpc
from google.protobuf.message import Message

from jaxchat import v1
from jaxchat.client.failover import (
    AsyncCalls,
    BlockingCalls,
    BlockingStream,
    FailoverPolicy,
    Metadata,
    ReplicaSet,
    Whole,
    repeatable,
    resumable_chat,
    split_targets,
)
from jaxchat.client.failover.channels import CHANNEL_OPTIONS, FAILOVER_OPTIONS, opener
from jaxchat.client.models import common_models

Request = TypeVar("Request", bound=Message)


class GrpcOptions(TypedDict, total=False):
    """Options of a gRPC connection.

    `api_key` is sent with every call as a bearer token, and `headers` as metadata. `credentials`, from
    `tls_credentials`, turn on TLS. `timeout` is in seconds and limits calls without a `timeout`; None means no limit.
    """

    api_key: str | None
    credentials: grpc.ChannelCredentials | None
    timeout: float | None
    headers: Mapping[str, str] | None


class _Connection:
    """The base of both gRPC transports: the replicas, and the options of every call."""

    default_model = None

    def __init__(
        self,
        channels: Any,
        target: str | Iterable[str],
        *,
        api_key: str | None = None,
        credentials: grpc.ChannelCredentials | None = None,
        timeout: float | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """Opens channels, which connect at the first call. `channels` is the module `grpc` or `grpc.aio`."""
        targets = split_targets(target)
        several = len(targets) > 1 or ReplicaSet.is_name(targets[0])
        options = FAILOVER_OPTIONS if several else CHANNEL_OPTIONS
        self._replicas = ReplicaSet(targets, opener(channels, credentials, options))
        self._target = ",".join(targets)
        self._timeout = timeout
        self._metadata = metadata_for(api_key, headers)

    def __repr__(self) -> str:
        return f"gRPC {self._target}"

    def _options(self, timeout: float | None) -> dict[str, Any]:
        """Returns the keyword arguments of a call. `timeout` is in seconds. None means the connection's timeout."""
        return {"timeout": self._timeout if timeout is None else timeout, "metadata": self._metadata}

    def _repeatable(self, request: Request) -> Request:
        return request if self._replicas.single else repeatable(request)


class GrpcTransport(_Connection):
    """A gRPC connection to a jaxchat server, or to replicas of one. The first call opens the connection.

    A call whose replica is lost goes on at another replica (docs/failover.md).

    Args:
        target: a gRPC target such as `host:port`, or several targets in a list or separated by commas.
            `dns:///name:port` means all addresses that DNS has for the name.
        options: the fields of `GrpcOptions`.

    Raises:
        ValueError: `target` is empty.
    """

    def __init__(self, target: str | Iterable[str], **options: Unpack[GrpcOptions]) -> None:
        super().__init__(grpc, target, **options)
        self._calls = BlockingCalls(self._replicas, FailoverPolicy())

    def complete(self, request: v1.ChatCompletionRequest, timeout: float | None = None) -> v1.ChatCompletion:
        answer: v1.ChatCompletion = self._call("Complete", request, timeout)
        return answer

    def stream(self, request: v1.ChatCompletionRequest, timeout: float | None = None) -> BlockingStream:
        return self._calls.stream("Stream", resumable_chat(request, self._replicas), **self._options(timeout))

    def complete_text(self, request: v1.TextCompletionRequest, timeout: float | None = None) -> v1.TextCompletion:
        answer: v1.TextCompletion = self._call("CompleteText", request, timeout)
        return answer

    def stream_text(self, request: v1.TextCompletionRequest, timeout: float | None = None) -> BlockingStream:
        return self._calls.stream("StreamText", Whole(self._repeatable(request)), **self._options(timeout))

    def tokenize(self, request: v1.TokenizeRequest) -> v1.TokenizeResponse:
        answer: v1.TokenizeResponse = self._call("Tokenize", request)
        return answer

    def detokenize(self, request: v1.DetokenizeRequest) -> v1.DetokenizeResponse:
        answer: v1.DetokenizeResponse = self._call("Detokenize", request)
        return answer

    def list_models(self) -> list[v1.Model]:
        answers = self._calls.from_each("ListModels", v1.ListModelsRequest(), **self._options(None))
        return common_models([list(answer.models) for answer in answers])

    def close(self) -> None:
        self._calls.close()

    def _call(self, method: str, request: Message, timeout: float | None = None) -> Any:
        return self._calls.unary(method, self._repeatable(request), **self._options(timeout))


class AsyncGrpcTransport(_Connection):
    """A gRPC connection to a jaxchat server, or to replicas of one, for one asyncio loop.

    A call whose replica is lost goes on at another replica (docs/failover.md).

    Args:
        target: a gRPC target such as `host:port`, or several targets in a list or separated by commas.
            `dns:///name:port` means all addresses that DNS has for the name.
        options: the fields of `GrpcOptions`.

    Raises:
        ValueError: `target` is empty.
    """

    def __init__(self, target: str | Iterable[str], **options: Unpack[GrpcOptions]) -> None:
        super().__init__(grpc.aio, target, **options)
        self._calls = AsyncCalls(self._replicas, FailoverPolicy())

    async def complete(self, request: v1.ChatCompletionRequest, timeout: float | None = None) -> v1.ChatCompletion:
        answer: v1.ChatCompletion = await self._call("Complete", request, timeout)
        return answer

    def stream(
        self, request: v1.ChatCompletionRequest, timeout: float | None = None
    ) -> AsyncGenerator[v1.ChatCompletionChunk, None]:
        return self._calls.stream("Stream", resumable_chat(request, self._replicas), **self._options(timeout))

    async def complete_text(self, request: v1.TextCompletionRequest, timeout: float | None = None) -> v1.TextCompletion:
        answer: v1.TextCompletion = await self._call("CompleteText", request, timeout)
        return answer

    def stream_text(
        self, request: v1.TextCompletionRequest, timeout: float | None = None
    ) -> AsyncGenerator[v1.TextCompletion, None]:
        return self._calls.stream("StreamText", Whole(self._repeatable(request)), **self._options(timeout))

    async def tokenize(self, request: v1.TokenizeRequest) -> v1.TokenizeResponse:
        answer: v1.TokenizeResponse = await self._call("Tokenize", request)
        return answer

    async def detokenize(self, request: v1.DetokenizeRequest) -> v1.DetokenizeResponse:
        answer: v1.DetokenizeResponse = await self._call("Detokenize", request)
        return answer

    async def list_models(self) -> list[v1.Model]:
        answers = await self._calls.from_each("ListModels", v1.ListModelsRequest(), **self._options(None))
        return common_models([list(answer.models) for answer in answers])

    async def close(self) -> None:
        await self._calls.close()

    async def _call(self, method: str, request: Message, timeout: float | None = None) -> Any:
        return await self._calls.unary(method, self._repeatable(request), **self._options(timeout))


def metadata_for(api_key: str | None, headers: Mapping[str, str] | None) -> Metadata:
    """Returns the metadata of a call: `headers` with lower-case keys, and the API key as a bearer token."""
    pairs = [(key.lower(), value) for key, value in (headers or {}).items()]
    if api_key is not None:
        pairs.append(("authorization", f"Bearer {api_key}"))
    return tuple(pairs)
