"""A backend in another process: forwards each call to a gRPC server and returns its answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import Any

import grpc
from google.protobuf.message import Message
from grpc_health.v1 import health_pb2, health_pb2_grpc

from jaxchat import v1
from jaxchat.chat.context import OpenCalls, RequestContext
from jaxchat.client import tls_credentials
from jaxchat.client.grpc import CHANNEL_OPTIONS, Metadata
from jaxchat.client.grpc_errors import error_of
from jaxchat.errors import ChatError, draining, internal, overloaded
from jaxchat.v1.service_pb2_grpc import ChatServiceStub
from serving.config import BackendConfig
from serving.grpc.methods import SERVICE
from serving.trace_context import trace_metadata

_RETRY = 1.0  # seconds between two attempts to watch the server's health
_OPTIONS = (
    *CHANNEL_OPTIONS,
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.max_reconnect_backoff_ms", 2_000),
    ("grpc.keepalive_time_ms", 20_000),  # detects a machine that vanished without closing the connection
    ("grpc.keepalive_timeout_ms", 10_000),
)


class RemoteBackend:
    """A `serving.backend.ChatBackend` over gRPC that forwards the caller's key, request id and trace.

    Belongs to one asyncio loop. Reconnects automatically. Calls raise `ChatError` with status 503 while the server is
    unreachable or this backend is draining.

    Args:
        config: address and TLS files of the server.

    Raises:
        ValueError: a TLS file is unusable. The message names flag and file.
    """

    def __init__(self, config: BackendConfig) -> None:
        self._channel = _channel(config)
        self._chat = ChatServiceStub(self._channel)  # type: ignore[no-untyped-call]
        self._health = health_pb2_grpc.HealthStub(self._channel)
        self._open = OpenCalls()
        self._draining = False
        self._serving = False
        self._changed = asyncio.Condition()
        self._watch: asyncio.Task[None] | None = None

    @property
    def ready(self) -> bool:
        """Whether the server's health check reports SERVING and this backend is not draining."""
        return self._serving and not self._draining

    async def until_ready(self, ready: bool = True) -> None:
        """Waits until the property `ready` has the value of the argument."""
        async with self._changed:
            await self._changed.wait_for(lambda: self.ready == ready)

    async def start(self) -> None:
        """Starts to watch the server's health, without waiting for the server."""
        self._watch = asyncio.create_task(self._watch_health())

    async def drain(self, shutdown_grace: float) -> None:
        """Rejects new calls, and waits at most `shutdown_grace` seconds for open calls."""
        self._draining = True
        await self._open.wait(shutdown_grace)

    async def close(self) -> None:
        """Closes the connection. Open calls fail."""
        if self._watch:
            self._watch.cancel()
            await asyncio.gather(self._watch, return_exceptions=True)
        await self._channel.close()

    async def models(self, call: RequestContext) -> list[v1.Model]:
        return list((await self._call(self._chat.ListModels, v1.ListModelsRequest(), call)).models)

    async def complete(self, request: v1.ChatCompletionRequest, call: RequestContext) -> v1.ChatCompletion:
        return await self._call(self._chat.Complete, request, call)

    async def stream(
        self, request: v1.ChatCompletionRequest, call: RequestContext
    ) -> AsyncGenerator[v1.ChatCompletionChunk, None]:
        async with aclosing(self._stream(self._chat.Stream, request, call)) as chunks:
            async for chunk in chunks:
                yield chunk

    async def complete_text(self, request: v1.TextCompletionRequest, call: RequestContext) -> v1.TextCompletion:
        return await self._call(self._chat.CompleteText, request, call)

    async def stream_text(
        self, request: v1.TextCompletionRequest, call: RequestContext
    ) -> AsyncGenerator[v1.TextCompletion, None]:
        async with aclosing(self._stream(self._chat.StreamText, request, call)) as parts:
            async for part in parts:
                yield part

    async def tokenize(self, request: v1.TokenizeRequest, call: RequestContext) -> v1.TokenizeResponse:
        return await self._call(self._chat.Tokenize, request, call)

    async def detokenize(self, request: v1.DetokenizeRequest, call: RequestContext) -> v1.DetokenizeResponse:
        return await self._call(self._chat.Detokenize, request, call)

    async def render(self, request: v1.RenderRequest, call: RequestContext) -> v1.RenderResponse:
        return await self._call(self._chat.Render, request, call)

    async def capabilities(self, request: v1.GetCapabilitiesRequest, call: RequestContext) -> v1.Capabilities:
        return await self._call(self._chat.GetCapabilities, request, call)

    async def _call(self, method: Any, request: Message, call: RequestContext) -> Any:
        """Returns the answer of a method with one answer."""
        async with self._passing():
            return await method(request, metadata=_metadata(call))

    async def _stream(self, method: Any, request: Message, call: RequestContext) -> AsyncGenerator[Any, None]:
        """Yields the answers of a method with several answers. Cancels the call if its reader leaves."""
        async with self._passing():
            rpc: Any = method(request, metadata=_metadata(call))
            try:
                async for answer in rpc:
                    if answer.ByteSize():  # Ray Serve sends an empty answer before an error
                        yield answer
            finally:
                rpc.cancel()  # a no-op once the call has ended

    @asynccontextmanager
    async def _passing(self) -> AsyncIterator[None]:
        """Counts the call as open, and turns errors of gRPC into `ChatError`. Raises `ChatError` while draining."""
        if self._draining:
            raise draining()
        self._open.enter()
        try:
            yield
        except grpc.RpcError as error:
            raise _chat_error(error) from None
        finally:
            self._open.leave()

    async def _watch_health(self) -> None:
        request = health_pb2.HealthCheckRequest(service=SERVICE)
        while True:
            try:
                async for answer in self._health.Watch(request, wait_for_ready=True):
                    await self._set_serving(answer.status == health_pb2.HealthCheckResponse.SERVING)
            except grpc.RpcError:
                await self._set_serving(False)
            await asyncio.sleep(_RETRY)  # also after a watch that ended without an error

    async def _set_serving(self, serving: bool) -> None:
        async with self._changed:
            self._serving = serving
            self._changed.notify_all()


def _channel(config: BackendConfig) -> grpc.aio.Channel:
    if not config.secure:
        return grpc.aio.insecure_channel(config.backend, options=_OPTIONS)
    credentials = tls_credentials(config.backend_ca, config.backend_cert, config.backend_key, prefix="--backend-")
    return grpc.aio.secure_channel(config.backend, credentials, options=_OPTIONS)


def _metadata(call: RequestContext) -> Metadata:
    """Returns the gRPC metadata of a call. Omits a key that gRPC cannot send, because such a key is never valid."""
    pairs = [("x-request-id", call.request_id), *trace_metadata(call)]
    if call.authorization and call.authorization.isascii() and call.authorization.isprintable():
        pairs.append(("authorization", call.authorization))
    return tuple(pairs)


def _chat_error(error: grpc.RpcError) -> ChatError:
    """Returns the server's error. For a connection error, returns a general one that does not expose internals."""
    chat_error = error_of(error)
    if chat_error.request_id is not None:  # only the server's own errors have one
        return chat_error
    code = error.code()
    if code in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED):
        return overloaded("The backend cannot be reached, or abandoned the request.")
    return chat_error if chat_error.code in ("timeout", "request_too_large") else internal()
