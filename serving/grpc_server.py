"""The gRPC front door: the chat service, standard health and reflection."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import AsyncIterator
from typing import Any, NoReturn

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from jaxchat import v1
from jaxchat.chat.validate import completes_whole
from jaxchat.errors import ChatError, internal
from jaxchat.v1 import service_pb2, service_pb2_grpc
from serving import grpc_errors
from serving.backend import ChatBackend, find_model, request_id_from

SERVICE = service_pb2.DESCRIPTOR.services_by_name["ChatService"].full_name
MAX_ANSWER_BYTES = 64 * 1024 * 1024  # n = 128 with 20 top_logprobs

log = logging.getLogger(__name__)

Context = grpc.aio.ServicerContext[Any, Any]


class ChatServicer(service_pb2_grpc.ChatServiceServicer):
    """Passes messages between RPCs and the backend. A cancelled RPC cancels the backend's call by asyncio's own way."""

    def __init__(self, backend: ChatBackend):
        self._backend = backend

    async def Complete(self, request: v1.ChatCompletionRequest, context: Context) -> v1.ChatCompletion:
        async with _call(context) as request_id:
            completes_whole(request)
            return await self._backend.complete(request, request_id=request_id)

    async def Stream(self, request: v1.ChatCompletionRequest, context: Context) -> None:
        async with _call(context) as request_id:
            chunks: Any = self._backend.stream(request, request_id=request_id)
            async with contextlib.aclosing(chunks):
                async for chunk in chunks:
                    await context.write(chunk)

    async def ListModels(self, request: v1.ListModelsRequest, context: Context) -> v1.ListModelsResponse:
        async with _call(context):
            return v1.ListModelsResponse(models=self._backend.models())

    async def GetModel(self, request: v1.GetModelRequest, context: Context) -> v1.Model:
        async with _call(context):
            return find_model(self._backend, request.model)


@contextlib.asynccontextmanager
async def _call(context: Context) -> AsyncIterator[str]:
    """Names the call for the client and turns whatever it raises into a status with details."""
    metadata = dict(context.invocation_metadata() or ())
    given = metadata.get("x-request-id")
    request_id = request_id_from(given if isinstance(given, str) else None)
    await context.send_initial_metadata((("x-request-id", request_id),))
    try:
        yield request_id
    except ChatError as error:
        await _abort(context, error, request_id)
    except Exception:
        log.exception("request %s failed", request_id)
        await _abort(context, internal(), request_id)


async def _abort(context: Context, error: ChatError, request_id: str) -> NoReturn:
    trailers = ((grpc_errors.DETAILS_KEY, grpc_errors.to_details(error, request_id)),)
    await context.abort(grpc_errors.status_code(error), error.message, trailers)
    raise AssertionError("abort always raises")


class GrpcServer:
    """A gRPC server for one backend. `port` is known after `start`."""

    def __init__(self, backend: ChatBackend, *, host: str, port: int, max_body: int):
        self.host, self.port = host, port
        self._health = health.aio.HealthServicer()
        self._server = grpc.aio.server(
            options=[
                ("grpc.max_receive_message_length", max_body),
                ("grpc.max_send_message_length", MAX_ANSWER_BYTES),
                ("grpc.so_reuseport", 0),  # a second server on the same port is an error, not a silent share
            ]
        )
        service_pb2_grpc.add_ChatServiceServicer_to_server(ChatServicer(backend), self._server)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        names = (SERVICE, health.SERVICE_NAME, reflection.SERVICE_NAME)
        reflection.enable_server_reflection(names, self._server)

    async def start(self) -> None:
        """Listens; health says NOT_SERVING until `set_serving`. Raises OSError when the address is taken."""
        await self.set_serving(False)
        host = f"[{self.host}]" if ":" in self.host else self.host
        try:
            self.port = self._server.add_insecure_port(f"{host}:{self.port}")
        except RuntimeError as error:
            raise OSError(f"cannot listen for gRPC on {host}:{self.port}: {error}") from None
        await self._server.start()

    async def set_serving(self, serving: bool) -> None:
        """What health answers, for the server as a whole ("") and for the chat service."""
        states = health_pb2.HealthCheckResponse
        state = states.SERVING if serving else states.NOT_SERVING
        for name in ("", SERVICE):
            await self._health.set(name, state)

    async def stop(self, grace: float) -> None:
        """Takes no new calls, lets running ones finish for `grace` seconds, then cancels them."""
        await self._server.stop(grace)
