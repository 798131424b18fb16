"""gRPC servers that fail as they are told."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import grpc

from jaxchat import errors, v1
from jaxchat.client import grpc_errors
from jaxchat.v1 import service_pb2_grpc
from tests.ports import free_port

TEXT = "abcdef"
FULL = errors.queue_full(4, 4, retry_after=0.5)


class Lost(Exception):
    """The loss of the connection after `chunks` chunks."""

    def __init__(self, chunks: int = 0) -> None:
        self.chunks = chunks


class Scripted(service_pb2_grpc.ChatServiceServicer):
    """A replica that answers `TEXT`, a character a chunk, after the errors in its script.

    Attributes:
        script: the error of each call, in order. Later calls succeed.
        forever: the error of all calls after the script.
        fingerprint: its `system_fingerprint`.
        models: ids of its models.
        requests: the requests so far.
        hold: streams wait for it after their first character.
        open: number of open streams.
    """

    def __init__(self, *script: Exception, fingerprint: str = "fp_1", forever: Exception | None = None) -> None:
        self.script, self.forever, self.fingerprint = list(script), forever, fingerprint
        self.models = ["m"]
        self.requests: list[v1.ChatCompletionRequest] = []
        self.hold = threading.Event()
        self.hold.set()
        self.open = 0
        self.target = ""

    def Complete(self, request: v1.ChatCompletionRequest, context: Any) -> v1.ChatCompletion:
        if self._fail(request, context):
            context.abort(grpc.StatusCode.UNAVAILABLE, "Socket closed")
        answer = v1.ChatCompletion(id="chatcmpl-1", system_fingerprint=self.fingerprint, seed_used=request.seed)
        answer.choices.add(finish_reason=1).message.content = TEXT
        return answer

    def Stream(self, request: v1.ChatCompletionRequest, context: Any) -> Iterator[v1.ChatCompletionChunk]:
        lost = self._fail(request, context)
        self.open += 1
        context.add_callback(self._closed)
        for index, part in enumerate(self._parts()):
            if index == lost:
                context.abort(grpc.StatusCode.UNAVAILABLE, "Socket closed")
            if index == 2:
                self.hold.wait(20)
            chunk = v1.ChatCompletionChunk(id=f"chatcmpl-{len(self.requests)}", system_fingerprint=self.fingerprint)
            chunk.seed_used = request.seed
            chunk.choices.append(part)
            yield chunk

    def ListModels(self, request: v1.ListModelsRequest, context: Any) -> v1.ListModelsResponse:
        return v1.ListModelsResponse(models=[v1.Model(id=id_) for id_ in self.models])

    def _parts(self) -> Iterator[v1.ChunkChoice]:
        yield v1.ChunkChoice(delta=v1.Delta(role=v1.ROLE_ASSISTANT, content=""))
        for index, letter in enumerate(TEXT):
            yield v1.ChunkChoice(delta=v1.Delta(content=letter), token_ids=[index])
        yield v1.ChunkChoice(delta=v1.Delta(), finish_reason=v1.FINISH_REASON_STOP)

    def _closed(self) -> None:
        self.open -= 1

    def _fail(self, request: v1.ChatCompletionRequest, context: Any) -> int | None:
        """Fails as the script says, or returns after how many chunks the stream is to be lost."""
        self.requests.append(request)
        context.send_initial_metadata((("x-request-id", "r"),))
        error = self.script.pop(0) if self.script else self.forever
        if isinstance(error, errors.ChatError):
            context.set_trailing_metadata(((grpc_errors.DETAILS_KEY, grpc_errors.to_details(error, "r")),))
            context.abort(grpc_errors.status_code(error), error.message)
        if isinstance(error, Lost):
            if not error.chunks:
                context.abort(grpc.StatusCode.UNAVAILABLE, "Socket closed")
            return error.chunks
        return None


@contextmanager
def serving(*replicas: Scripted, hosts: tuple[str, ...] = ()) -> Iterator[list[str]]:
    """Starts the replicas, and yields their targets. With `hosts`, all get the same port, each on another address."""
    servers = []
    port = 0
    with ThreadPoolExecutor(40) as pool:
        for index, replica in enumerate(replicas):
            server = grpc.server(pool)
            service_pb2_grpc.add_ChatServiceServicer_to_server(replica, server)
            host = hosts[index] if hosts else "127.0.0.1"
            bound = server.add_insecure_port(f"{host}:{port}")
            port = bound if hosts else 0
            replica.target = f"{host}:{bound}"
            server.start()
            servers.append(server)
        try:
            yield [replica.target for replica in replicas]
        finally:
            for replica in replicas:
                replica.hold.set()
            for server in servers:
                server.stop(0).wait()


def unused_target() -> str:
    """Returns a target at which nothing listens."""
    return f"127.0.0.1:{free_port()}"
