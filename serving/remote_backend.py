"""A backend in other processes: forwards calls to the replicas of a gRPC server and returns their answers.

Each call goes to one replica, except for `models`, which asks all replicas.
"""

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
from jaxchat.client.failover import (
    Address,
    AsyncCalls,
    FailoverPolicy,
    Metadata,
    Replica,
    ReplicaSet,
    Resumable,
    Whole,
    repeatable,
    resumable_chat,
)
from jaxchat.client.failover.channels import FAILOVER_OPTIONS, opener
from jaxchat.client.grpc_errors import error_of
from jaxchat.client.models import common_models
from jaxchat.errors import ChatError, draining, internal, overloaded
from serving.config import BackendConfig
from serving.grpc.methods import SERVICE
from serving.trace_context import trace_metadata

_RETRY = 1.0  # seconds between two attempts to watch a server's health, and between two looks at DNS


class RemoteBackend:
    """A `serving.backend.ChatBackend` over gRPC that forwards the caller's key, request id and trace.

    Belongs to one asyncio loop. Reconnects automatically. Calls raise `ChatError` with status 503 while no server is
    reachable or this backend is draining. A call whose server is lost goes on at another server (docs/failover.md).

    Args:
        config: addresses and TLS files of the servers.

    Raises:
        ValueError: a TLS file is unusable. The message names flag and file.
    """

    def __init__(self, config: BackendConfig) -> None:
        open_replica = opener(grpc.aio, _credentials(config), FAILOVER_OPTIONS, _name, watched=True)
        self._replicas = ReplicaSet(config.backend, open_replica)
        self._calls = AsyncCalls(self._replicas, FailoverPolicy(error=_chat_error))
        self._open = OpenCalls()
        self._draining = False
        self._changed = asyncio.Condition()
        self._watches: dict[Replica, asyncio.Task[None]] = {}
        self._upkeep: asyncio.Task[None] | None = None

    @property
    def ready(self) -> bool:
        """Whether a server's health check reports SERVING and this backend is not draining."""
        return any(replica.serving for replica in self._replicas.all) and not self._draining

    async def until_ready(self, ready: bool = True) -> None:
        """Waits until the property `ready` has the value of the argument."""
        async with self._changed:
            await self._changed.wait_for(lambda: self.ready == ready)

    async def start(self) -> None:
        """Starts to watch the servers' health, without waiting for a server."""
        self._upkeep = asyncio.create_task(self._keep_up())

    async def drain(self, shutdown_grace: float) -> None:
        """Rejects new calls, and waits at most `shutdown_grace` seconds for open calls to end."""
        self._draining = True
        await self._open.wait(shutdown_grace)

    async def close(self) -> None:
        """Closes the connections. Open calls fail."""
        tasks = [*self._watches.values(), *([self._upkeep] if self._upkeep else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._calls.close()

    async def models(self, call: RequestContext) -> list[v1.Model]:
        async with self._passing():
            answers = await self._calls.from_each("ListModels", v1.ListModelsRequest(), metadata=_metadata(call))
        return common_models([list(answer.models) for answer in answers])

    async def complete(self, request: v1.ChatCompletionRequest, call: RequestContext) -> v1.ChatCompletion:
        answer: v1.ChatCompletion = await self._call("Complete", request, call)
        return answer

    async def stream(
        self, request: v1.ChatCompletionRequest, call: RequestContext
    ) -> AsyncGenerator[v1.ChatCompletionChunk, None]:
        async with aclosing(self._stream("Stream", resumable_chat(request, self._replicas), call)) as chunks:
            async for chunk in chunks:
                yield chunk

    async def complete_text(self, request: v1.TextCompletionRequest, call: RequestContext) -> v1.TextCompletion:
        answer: v1.TextCompletion = await self._call("CompleteText", request, call)
        return answer

    async def stream_text(
        self, request: v1.TextCompletionRequest, call: RequestContext
    ) -> AsyncGenerator[v1.TextCompletion, None]:
        answer = Whole(request if self._replicas.single else repeatable(request))
        async with aclosing(self._stream("StreamText", answer, call)) as parts:
            async for part in parts:
                yield part

    async def tokenize(self, request: v1.TokenizeRequest, call: RequestContext) -> v1.TokenizeResponse:
        answer: v1.TokenizeResponse = await self._call("Tokenize", request, call)
        return answer

    async def detokenize(self, request: v1.DetokenizeRequest, call: RequestContext) -> v1.DetokenizeResponse:
        answer: v1.DetokenizeResponse = await self._call("Detokenize", request, call)
        return answer

    async def render(self, request: v1.RenderRequest, call: RequestContext) -> v1.RenderResponse:
        answer: v1.RenderResponse = await self._call("Render", request, call)
        return answer

    async def capabilities(self, request: v1.GetCapabilitiesRequest, call: RequestContext) -> v1.Capabilities:
        answer: v1.Capabilities = await self._call("GetCapabilities", request, call)
        return answer

    async def _call(self, method: str, request: Message, call: RequestContext) -> Any:
        """Returns the answer of a method without streams."""
        async with self._passing():
            request = request if self._replicas.single else repeatable(request)
            return await self._calls.unary(method, request, metadata=_metadata(call))

    async def _stream(self, method: str, answer: Resumable, call: RequestContext) -> AsyncGenerator[Any, None]:
        """Yields the chunks of a method with a streamed answer. Closing the generator cancels the call."""
        chunks = self._calls.stream(method, answer, metadata=_metadata(call))
        async with self._passing(), aclosing(chunks):
            async for chunk in chunks:
                yield chunk

    @asynccontextmanager
    async def _passing(self) -> AsyncIterator[None]:
        """Counts a call as open while the block runs. Raises `ChatError` while draining."""
        if self._draining:
            raise draining()
        self._open.enter()
        try:
            yield
        finally:
            self._open.leave()

    async def _keep_up(self) -> None:
        """Watches the health of each replica, including replicas that DNS lists later."""
        while True:
            await self._calls.refresh()
            replicas = self._replicas.all
            for replica in set(self._watches) - set(replicas):
                self._watches.pop(replica).cancel()
                await self._set_serving(replica, False)
            for replica in replicas:
                if replica not in self._watches:
                    self._watches[replica] = asyncio.create_task(self._watch_health(replica))
            await asyncio.sleep(_RETRY)

    async def _watch_health(self, replica: Replica) -> None:
        request = health_pb2.HealthCheckRequest(service=SERVICE)
        stub = health_pb2_grpc.HealthStub(replica.channel)
        while True:
            try:
                async for answer in stub.Watch(request, wait_for_ready=True):
                    await self._set_serving(replica, answer.status == health_pb2.HealthCheckResponse.SERVING)
            except grpc.RpcError:
                await self._set_serving(replica, False)
            await asyncio.sleep(_RETRY)  # also after a watch that ended without an error

    async def _set_serving(self, replica: Replica, serving: bool) -> None:
        async with self._changed:
            replica.serving = serving
            if serving:
                self._replicas.works(replica)
            self._changed.notify_all()


def _name(_: Address, number: int) -> str:
    return f"replica {number}"  # clients of REST need not know addresses


def _credentials(config: BackendConfig) -> grpc.ChannelCredentials | None:
    if not config.secure:
        return None
    return tls_credentials(config.backend_ca, config.backend_cert, config.backend_key, prefix="--backend-")


def _metadata(call: RequestContext) -> Metadata:
    """Returns the gRPC metadata of a call: request id, trace and authorization.

    Omits the authorization if gRPC cannot send it. An API key with such characters is never valid.
    """
    pairs = [("x-request-id", call.request_id), *trace_metadata(call)]
    if call.authorization and call.authorization.isascii() and call.authorization.isprintable():
        pairs.append(("authorization", call.authorization))
    return tuple(pairs)


def _chat_error(error: grpc.RpcError) -> ChatError:
    """Returns the server's error. For a connection error, returns a general error that does not expose internals."""
    chat_error = error_of(error)
    if chat_error.request_id is not None:  # only the server's own errors have one
        return chat_error
    code = error.code()
    if code in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED):
        return overloaded("The backend cannot be reached, or abandoned the request.")
    return chat_error if chat_error.code in ("timeout", "request_too_large") else internal()
