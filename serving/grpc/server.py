"""The gRPC server: the chat service, standard health checks and reflection."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from typing import Any, NoReturn

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from jaxchat import v1
from jaxchat.chat.context import OpenCalls, RequestContext
from jaxchat.client import grpc_errors
from jaxchat.errors import ChatError, internal, invalid
from jaxchat.v1 import service_pb2_grpc
from serving.addresses import check_free
from serving.auth import ApiKeys
from serving.backend import ChatBackend, find_model, request_id_from
from serving.grpc.methods import SERVICE, Undecodable, add_methods
from serving.tls import ServerTls
from serving.trace_context import trace_headers

MAX_ANSWER_BYTES = 64 * 1024 * 1024  # n = 128 with 20 top_logprobs
LEAST_PING_MS = 10_000  # clients may ping this often, with or without a call; gRPC's defaults are minutes and hours

log = logging.getLogger(__name__)

Context = grpc.aio.ServicerContext[Any, Any]


class ChatServicer(service_pb2_grpc.ChatServiceServicer):
    """The chat service of a backend. Cancelling an RPC cancels the call of the backend.

    Args:
        backend: the service that answers the requests.
        keys: valid API keys. Each call must have one of them. None means that calls need no key.
    """

    def __init__(self, backend: ChatBackend, keys: ApiKeys | None = None):
        self._backend = backend
        self._keys = keys
        self.open = OpenCalls()

    async def Complete(self, request: v1.ChatCompletionRequest, context: Context) -> v1.ChatCompletion:
        async with self._call(request, context) as call:
            return await self._backend.complete(request, call)

    async def Stream(self, request: v1.ChatCompletionRequest, context: Context) -> None:
        async with self._call(request, context) as call:
            chunks: Any = self._backend.stream(request, call)
            async with contextlib.aclosing(chunks):
                async for chunk in chunks:
                    await context.write(chunk)

    async def ListModels(self, request: v1.ListModelsRequest, context: Context) -> v1.ListModelsResponse:
        async with self._call(request, context) as call:
            return v1.ListModelsResponse(models=await self._backend.models(call))

    async def GetModel(self, request: v1.GetModelRequest, context: Context) -> v1.Model:
        async with self._call(request, context) as call:
            return await find_model(self._backend, request.model, call)

    async def CompleteText(self, request: v1.TextCompletionRequest, context: Context) -> v1.TextCompletion:
        async with self._call(request, context) as call:
            return await self._backend.complete_text(request, call)

    async def StreamText(self, request: v1.TextCompletionRequest, context: Context) -> None:
        async with self._call(request, context) as call:
            parts: Any = self._backend.stream_text(request, call)
            async with contextlib.aclosing(parts):
                async for part in parts:
                    await context.write(part)

    async def Tokenize(self, request: v1.TokenizeRequest, context: Context) -> v1.TokenizeResponse:
        async with self._call(request, context) as call:
            return await self._backend.tokenize(request, call)

    async def Detokenize(self, request: v1.DetokenizeRequest, context: Context) -> v1.DetokenizeResponse:
        async with self._call(request, context) as call:
            return await self._backend.detokenize(request, call)

    async def Render(self, request: v1.RenderRequest, context: Context) -> v1.RenderResponse:
        async with self._call(request, context) as call:
            return await self._backend.render(request, call)

    async def GetCapabilities(self, request: v1.GetCapabilitiesRequest, context: Context) -> v1.Capabilities:
        async with self._call(request, context) as call:
            return await self._backend.capabilities(request, call)

    def _done(self, _: Any) -> None:
        self.open.leave()

    @contextlib.asynccontextmanager
    async def _call(self, request: object, context: Context) -> AsyncIterator[RequestContext]:
        """Sends the request id, checks the API key, and turns exceptions of the block into a status with details."""
        self.open.enter()
        done: Any = self._done  # no function matches its type in the stubs
        context.add_done_callback(done)  # runs once the status is sent, which is after this returns
        pairs = [(key, value) for key, value in context.invocation_metadata() or () if isinstance(value, str)]
        metadata = dict(pairs)
        request_id = request_id_from(metadata.get("x-request-id"))
        authorization = metadata.get("authorization", "")
        call = RequestContext(request_id=request_id, authorization=authorization, **trace_headers(pairs))
        try:
            await context.send_initial_metadata((("x-request-id", request_id),))
            if self._keys:
                self._keys.check(call.authorization)
            if isinstance(request, Undecodable):
                raise invalid(None, "The request is not a valid message of this method.")
            yield call
        except ChatError as error:
            await _abort(context, error, request_id)
        except grpc.aio.InternalError:  # a write failed: the client left before gRPC cancelled the task
            raise asyncio.CancelledError from None
        except Exception:
            log.exception("request %s failed", request_id)
            await _abort(context, internal(), request_id)


async def _abort(context: Context, error: ChatError, request_id: str) -> NoReturn:
    trailers = ((grpc_errors.DETAILS_KEY, grpc_errors.to_details(error, request_id)),)
    await context.abort(grpc_errors.status_code(error), grpc_errors.fit(error).message, trailers)
    raise AssertionError("abort always raises")


class GrpcServer:
    """A gRPC server for one backend. `port` is known after `start`.

    Args:
        backend: the service that answers the requests.
        host: address to listen on.
        port: port to listen on. 0 picks a free one.
        max_body: largest request, in bytes.
        keys: valid API keys. Each call of the chat service must have one of them. None means that calls need no key.
        tls: certificate and key. None means that connections are not encrypted.
        least_ping_ms: least time in milliseconds between two pings of a client. The connections of clients that ping
            more often are closed.
    """

    def __init__(
        self,
        backend: ChatBackend,
        *,
        host: str,
        port: int,
        max_body: int,
        keys: ApiKeys | None = None,
        tls: ServerTls | None = None,
        least_ping_ms: int = LEAST_PING_MS,
    ):
        self.host, self.port = host, port
        self._tls = tls
        self._health = health.aio.HealthServicer()
        self._chat = ChatServicer(backend, keys)
        self._server = grpc.aio.server(
            options=[
                ("grpc.max_receive_message_length", max_body),
                ("grpc.max_send_message_length", MAX_ANSWER_BYTES),
                (
                    "grpc.so_reuseport",
                    0,
                ),  # a second server on the same port is an error, and does not share it silently
                ("grpc.http2.min_ping_interval_without_data_ms", least_ping_ms),
                ("grpc.keepalive_permit_without_calls", 1),  # otherwise idle ones may ping only every two hours
            ]
        )
        add_methods(self._chat, self._server)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        names = (SERVICE, health.SERVICE_NAME, reflection.SERVICE_NAME)
        reflection.enable_server_reflection(names, self._server)

    async def start(self) -> None:
        """Starts to listen. Health reports NOT_SERVING until `set_serving`. Raises OSError if the address is taken."""
        await self.set_serving(False)
        check_free(self.host, self.port, "--grpc-port")  # gRPC itself only logs why it cannot listen
        host = f"[{self.host}]" if ":" in self.host else self.host
        address = f"{host}:{self.port}"
        try:
            if self._tls:
                self.port = self._server.add_secure_port(address, self._tls.grpc_credentials())
            else:
                self.port = self._server.add_insecure_port(address)
        except RuntimeError as error:
            raise OSError(f"cannot listen for gRPC on {address}: {error}") from None
        await self._server.start()

    async def set_serving(self, serving: bool) -> None:
        """Sets whether health checks report SERVING, for the server as a whole ("") and for the chat service."""
        states = health_pb2.HealthCheckResponse
        state = states.SERVING if serving else states.NOT_SERVING
        for name in ("", SERVICE):
            await self._health.set(name, state)

    async def stop(self, shutdown_grace: float) -> None:
        """Waits at most `shutdown_grace` seconds for open chat calls, then cancels all calls."""
        await self._chat.open.wait(shutdown_grace)
        await self._server.stop(0)
