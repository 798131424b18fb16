"""A backend in another process: passes each call on to a gRPC server and gives back what that says."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from jaxchat import v1
from jaxchat.chat.context import OpenCalls, RequestContext
from jaxchat.client import tls_credentials
from jaxchat.client.grpc import Metadata
from jaxchat.client.grpc_errors import error_of
from jaxchat.errors import ChatError, draining, internal, overloaded
from jaxchat.v1.service_pb2_grpc import ChatServiceStub
from serving.config import BackendConfig
from serving.grpc.methods import SERVICE

_RETRY = 1.0  # seconds between two attempts to watch the health of a server that does not tell it
_OPTIONS = (
    ("grpc.max_receive_message_length", 64 * 1024 * 1024),
    ("grpc.max_send_message_length", -1),  # the REST door has a limit, the server has one
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.max_reconnect_backoff_ms", 2_000),
    ("grpc.keepalive_time_ms", 20_000),  # notices a machine that is gone without a word
    ("grpc.keepalive_timeout_ms", 10_000),
)


class RemoteBackend:
    """`serving.backend.ChatBackend` over gRPC, with the caller's key and request id. Lives on one asyncio loop.

    It connects by itself, again and again; while the server is away calls fail with 503.

    Raises:
        ValueError: a file for TLS cannot be used; names flag and file.
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
        """As the server's own health says."""
        return self._serving and not self._draining

    async def until_ready(self, ready: bool = True) -> None:
        """Waits until the server is there and ready, or is not."""
        async with self._changed:
            await self._changed.wait_for(lambda: self.ready == ready)

    async def start(self) -> None:
        """Begins to watch the server; does not wait for it."""
        self._watch = asyncio.create_task(self._watch_health())

    async def drain(self, shutdown_grace: float) -> None:
        """Refuses new calls and waits up to `shutdown_grace` seconds for the open ones."""
        self._draining = True
        await self._open.wait(shutdown_grace)

    async def close(self) -> None:
        """Ends the connection; calls that are still open fail."""
        if self._watch:
            self._watch.cancel()
            await asyncio.gather(self._watch, return_exceptions=True)
        await self._channel.close()

    async def models(self, call: RequestContext) -> list[v1.Model]:
        async with self._passing():
            answer = await self._chat.ListModels(v1.ListModelsRequest(), metadata=_metadata(call))
        return list(answer.models)

    async def complete(self, request: v1.ChatCompletionRequest, call: RequestContext) -> v1.ChatCompletion:
        async with self._passing():
            answer: v1.ChatCompletion = await self._chat.Complete(request, metadata=_metadata(call))
        return answer

    async def stream(
        self, request: v1.ChatCompletionRequest, call: RequestContext
    ) -> AsyncGenerator[v1.ChatCompletionChunk, None]:
        async with self._passing():
            rpc: Any = self._chat.Stream(request, metadata=_metadata(call))
            try:
                async for chunk in rpc:
                    if chunk.ByteSize():  # behind Ray Serve an empty one comes before an error
                        yield chunk
            finally:
                rpc.cancel()  # nothing, if it has ended

    @asynccontextmanager
    async def _passing(self) -> AsyncIterator[None]:
        """Counts the call as open and turns what the server or the connection says into a `ChatError`."""
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
            await asyncio.sleep(_RETRY)  # a watch that ended well is only begun anew

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
    """A key that gRPC cannot carry is left out: it is as wrong as none."""
    pairs = [("x-request-id", call.request_id)]
    if call.authorization and call.authorization.isascii() and call.authorization.isprintable():
        pairs.append(("authorization", call.authorization))
    return tuple(pairs)


def _chat_error(error: grpc.RpcError) -> ChatError:
    """The server's own error; one of the connection is told without its internals."""
    found = error_of(error)
    if found.request_id is not None:  # it has the server's details
        return found
    code = error.code()
    if code in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED):
        return overloaded("The backend cannot be reached, or gave up the request.")
    return found if found.code in ("timeout", "request_too_large") else internal()
