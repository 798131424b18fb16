"""Runs replicas of a model under Ray Serve. Each replica has its own engine.

Ray's gRPC proxy offers `jaxchat.v1.ChatService`.

    pip install 'ray[serve]' jaxchat
    python -m serving.deploy.ray_serve --replicas 2 --grpc-port 9000
    jaxchat rest --backend 127.0.0.1:9000

Ray balances, restarts and scales the replicas. With `--processes`, each replica is a multihost group on several nodes
(`serving.deploy.ray_group`).

Ray drops the trailing metadata of a call that raises, and with it the details of the error. A failed call therefore
returns an empty message and sets the status on its context. Clients see the status. In a stream, an empty chunk
precedes the status.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, TypeAlias, TypeVar

import ray
from grpc_health.v1 import health_pb2
from ray import serve
from ray.serve.config import HTTPOptions, gRPCOptions
from ray.serve.grpc_util import RayServegRPCContext

from jaxchat import v1
from jaxchat.chat.context import RequestContext
from jaxchat.client import grpc_errors
from jaxchat.config import EngineConfig
from jaxchat.errors import ChatError
from serving.backend import find_model, request_id_from
from serving.deploy.ray_group import Group, GroupConfig, replica_options
from serving.trace_context import trace_headers

SERVICES = (
    "jaxchat.v1.service_pb2_grpc.add_ChatServiceServicer_to_server",
    "grpc_health.v1.health_pb2_grpc.add_HealthServicer_to_server",
)
WATCH = 5  # seconds that one health watch lasts: Ray waits for a replica's last call before it stops the replica
Health: TypeAlias = health_pb2.HealthCheckResponse
T = TypeVar("T")


@serve.deployment(max_ongoing_requests=256, health_check_period_s=5, graceful_shutdown_timeout_s=45)
class Replica:
    """A Ray Serve deployment of one engine, with the methods of the chat and health services."""

    async def __init__(self, config: GroupConfig) -> None:  # type: ignore[misc]  # Ray awaits it
        self._group = Group(config)
        self._session = await self._group.start()

    async def __del__(self) -> None:
        await self._group.close()

    async def Complete(self, request: v1.ChatCompletionRequest, grpc_context: RayServegRPCContext) -> v1.ChatCompletion:
        return await _answer(self._session.complete, request, grpc_context, v1.ChatCompletion())

    async def Stream(
        self, request: v1.ChatCompletionRequest, grpc_context: RayServegRPCContext
    ) -> AsyncIterator[v1.ChatCompletionChunk]:
        call = _call(grpc_context)
        try:
            async for chunk in self._session.stream(request, call):
                yield chunk
        except ChatError as error:
            set_error(grpc_context, error, call)
            yield v1.ChatCompletionChunk()

    async def CompleteText(
        self, request: v1.TextCompletionRequest, grpc_context: RayServegRPCContext
    ) -> v1.TextCompletion:
        return await _answer(self._session.complete_text, request, grpc_context, v1.TextCompletion())

    async def StreamText(
        self, request: v1.TextCompletionRequest, grpc_context: RayServegRPCContext
    ) -> AsyncIterator[v1.TextCompletion]:
        call = _call(grpc_context)
        try:
            async for part in self._session.stream_text(request, call):
                yield part
        except ChatError as error:
            set_error(grpc_context, error, call)
            yield v1.TextCompletion()

    async def Tokenize(self, request: v1.TokenizeRequest, grpc_context: RayServegRPCContext) -> v1.TokenizeResponse:
        return await _answer(self._session.tokenize, request, grpc_context, v1.TokenizeResponse())

    async def Detokenize(
        self, request: v1.DetokenizeRequest, grpc_context: RayServegRPCContext
    ) -> v1.DetokenizeResponse:
        return await _answer(self._session.detokenize, request, grpc_context, v1.DetokenizeResponse())

    async def Render(self, request: v1.RenderRequest, grpc_context: RayServegRPCContext) -> v1.RenderResponse:
        return await _answer(self._session.render, request, grpc_context, v1.RenderResponse())

    async def GetCapabilities(
        self, request: v1.GetCapabilitiesRequest, grpc_context: RayServegRPCContext
    ) -> v1.Capabilities:
        return await _answer(self._session.capabilities, request, grpc_context, v1.Capabilities())

    async def ListModels(
        self, request: v1.ListModelsRequest, grpc_context: RayServegRPCContext
    ) -> v1.ListModelsResponse:
        return v1.ListModelsResponse(models=await self._session.models(_call(grpc_context)))

    async def GetModel(self, request: v1.GetModelRequest, grpc_context: RayServegRPCContext) -> v1.Model:
        call = _call(grpc_context)
        try:
            return await find_model(self._session, request.model, call)  # type: ignore[arg-type]
        except ChatError as error:
            set_error(grpc_context, error, call)
            return v1.Model()

    async def Check(self, request: health_pb2.HealthCheckRequest) -> Health:
        return self._health()

    async def Watch(self, request: health_pb2.HealthCheckRequest) -> AsyncIterator[Health]:
        for _ in range(WATCH):
            yield self._health()
            await asyncio.sleep(1)

    async def check_health(self) -> None:
        """Raises RuntimeError if the engine has stopped. Ray then replaces the replica."""
        if not self._session.ready:
            raise RuntimeError("the engine has stopped")

    def _health(self) -> Health:
        return Health(status=Health.SERVING if self._session.ready else Health.NOT_SERVING)


async def _answer(
    method: Callable[[Any, RequestContext], Awaitable[T]], request: Any, context: RayServegRPCContext, empty: T
) -> T:
    """Returns the answer of a method of the session. If the call fails, sets its error and returns `empty`."""
    call = _call(context)
    try:
        return await method(request, call)
    except ChatError as error:
        set_error(context, error, call)
        return empty


def _call(context: RayServegRPCContext) -> RequestContext:
    pairs = list(context.invocation_metadata())
    return RequestContext(request_id=request_id_from(dict(pairs).get("x-request-id")), **trace_headers(pairs))


def set_error(context: RayServegRPCContext, error: ChatError, call: RequestContext) -> None:
    """Sets the status and the details of a failed call, as the gRPC server sends them."""
    context.set_code(grpc_errors.status_code(error))
    context.set_details(error.message)
    context.set_trailing_metadata([(grpc_errors.DETAILS_KEY, grpc_errors.to_details(error, call.request_id))])


def main() -> None:
    """Starts the replicas and runs until Ctrl-C or SIGTERM."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="bundled")
    parser.add_argument("--replicas", type=int, default=2)
    parser.add_argument("--grpc-port", type=int, default=9000)
    text = "port of Ray's HTTP proxy, which does not serve chat (default: 8001)"
    parser.add_argument("--ray-http-port", type=int, default=8001, help=text)
    parser.add_argument("--slots", type=int, default=EngineConfig().slots)
    parser.add_argument("--processes", type=int, default=1, help="processes of a replica (default: 1)")
    parser.add_argument("--tensor-parallel", type=int, default=1, help="devices of a replica (default: 1)")
    parser.add_argument("--address", help="address of a Ray cluster (default: Ray's own rules)")
    args = parser.parse_args()
    settings = {name: getattr(args, name) for name in ("slots", "processes", "tensor_parallel")}
    config = GroupConfig.of(args.model, settings)
    ray.init(address=args.address)
    serve.start(
        http_options=HTTPOptions(port=args.ray_http_port),  # Ray's default 8000 is the port of `jaxchat rest`
        grpc_options=gRPCOptions(port=args.grpc_port, grpc_servicer_functions=list(SERVICES)),
    )
    options = replica_options(args.processes, {"CPU": 1})
    replicas: Any = Replica.options(num_replicas=args.replicas, **options)  # type: ignore[attr-defined]
    serve.run(replicas.bind(config), name="jaxchat")
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):  # Ray's own handlers would leave the replicas running
        signal.signal(number, lambda *_: stop.set())
    print(f"Ready at port {args.grpc_port}. Ctrl-C stops.", flush=True)
    stop.wait()
    serve.shutdown()
    ray.shutdown()


if __name__ == "__main__":
    main()
