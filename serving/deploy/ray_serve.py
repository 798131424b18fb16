"""Many replicas under Ray Serve: its gRPC proxy speaks `jaxchat.v1.ChatService`, each replica has an engine of its own.

    pip install 'ray[serve]' jaxchat
    python -m serving.deploy.ray_serve --replicas 2 --grpc-port 9000

Ray balances, restarts and scales the replicas; a model that needs several hosts is a pod instead (docs/pods.md).
"""

from __future__ import annotations

import argparse
import time
from collections.abc import AsyncIterator
from typing import Any

import ray
from ray import serve
from ray.serve.config import gRPCOptions
from ray.serve.grpc_util import RayServegRPCContext

from jaxchat import v1
from jaxchat.api import load_session
from jaxchat.chat.call import Call
from jaxchat.chat.validate import completes_whole
from jaxchat.config import EngineConfig
from jaxchat.errors import ChatError
from serving import grpc_errors
from serving.backend import find_model, request_id_from

SERVICE = "jaxchat.v1.service_pb2_grpc.add_ChatServiceServicer_to_server"


@serve.deployment(max_ongoing_requests=256, health_check_period_s=5, graceful_shutdown_timeout_s=45)
class Replica:
    """The methods of the chat service, by their names in the protocol."""

    async def __init__(self, model: str, engine: EngineConfig) -> None:  # type: ignore[misc]  # Ray awaits it
        self._session = load_session(model, engine)
        await self._session.start()

    async def Complete(self, request: v1.ChatCompletionRequest, grpc_context: RayServegRPCContext) -> v1.ChatCompletion:
        call = _call(grpc_context)
        try:
            completes_whole(request)
            return await self._session.complete(request, call)
        except ChatError as error:
            raise _told(grpc_context, error, call) from None

    async def Stream(
        self, request: v1.ChatCompletionRequest, grpc_context: RayServegRPCContext
    ) -> AsyncIterator[v1.ChatCompletionChunk]:
        call = _call(grpc_context)
        try:
            async for chunk in self._session.stream(request, call):
                yield chunk
        except ChatError as error:
            raise _told(grpc_context, error, call) from None

    async def ListModels(
        self, request: v1.ListModelsRequest, grpc_context: RayServegRPCContext
    ) -> v1.ListModelsResponse:
        return v1.ListModelsResponse(models=await self._session.models(_call(grpc_context)))

    async def GetModel(self, request: v1.GetModelRequest, grpc_context: RayServegRPCContext) -> v1.Model:
        call = _call(grpc_context)
        try:
            return await find_model(self._session, request.model, call)  # type: ignore[arg-type]
        except ChatError as error:
            raise _told(grpc_context, error, call) from None

    async def check_health(self) -> None:
        """Ray replaces a replica whose engine has failed."""
        if not self._session.ready:
            raise RuntimeError("the engine has stopped")


def _call(context: RayServegRPCContext) -> Call:
    metadata = dict(context.invocation_metadata())
    return Call(request_id=request_id_from(metadata.get("x-request-id")), authorization="")


def _told(context: RayServegRPCContext, error: ChatError, call: Call) -> ChatError:
    """Sets the status and the details that every front door sends."""
    context.set_code(grpc_errors.status_code(error))
    context.set_details(error.message)
    context.set_trailing_metadata([(grpc_errors.DETAILS_KEY, grpc_errors.to_details(error, call.request_id))])
    return error


def main() -> None:
    """Runs until Ctrl-C."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="bundled")
    parser.add_argument("--replicas", type=int, default=2)
    parser.add_argument("--grpc-port", type=int, default=9000)
    parser.add_argument("--slots", type=int, default=EngineConfig().slots)
    args = parser.parse_args()
    ray.init()
    serve.start(grpc_options=gRPCOptions(port=args.grpc_port, grpc_servicer_functions=[SERVICE]))
    replicas: Any = Replica.options(num_replicas=args.replicas)  # type: ignore[attr-defined]
    serve.run(replicas.bind(args.model, EngineConfig(slots=args.slots)), name="jaxchat")
    print(f"Ready at port {args.grpc_port}. Ctrl-C stops.", flush=True)
    try:
        while True:
            time.sleep(3600)
    except KeyboardInterrupt:
        serve.shutdown()


if __name__ == "__main__":
    main()
