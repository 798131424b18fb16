"""REST before a gRPC server in another process: what test_rest.py cannot ask of both kinds."""

from __future__ import annotations

import asyncio
import json
import threading
from contextlib import asynccontextmanager

import grpc
import httpx
import pytest

from jaxchat import v1
from jaxchat.chat.context import RequestContext
from jaxchat.errors import ChatError
from jaxchat.v1 import service_pb2_grpc
from serving.config import BackendConfig
from serving.grpc.server import GrpcServer
from serving.remote_backend import RemoteBackend
from serving.rest import create_app
from tests.serving.conftest import PATIENCE, Behind
from tests.serving.fake_session import FakeSession

CHAT = "/v1/chat/completions"


def say(text, **fields):
    return {"model": "fake", "messages": [{"role": "user", "content": text}], **fields}


def request(text):
    return v1.ChatCompletionRequest(model="fake", messages=[v1.ChatMessage(role=v1.ROLE_USER, text=text)])


@asynccontextmanager
async def listening(port=0, max_body=100_000):
    """A gRPC server that takes calls; leaving it cancels them as the death of the process would."""
    session = FakeSession()
    await session.start()
    server = GrpcServer(session, host="127.0.0.1", port=port, max_body=max_body)
    await server.start()
    await server.set_serving(True)
    try:
        yield server, session
    finally:
        await server.stop(0)


@asynccontextmanager
async def connected(server):
    backend = RemoteBackend(BackendConfig(backend=f"127.0.0.1:{server.port}"))
    await backend.start()
    try:
        await asyncio.wait_for(backend.until_ready(), PATIENCE)
        yield backend
    finally:
        await backend.close()


def client_of(backend):
    return httpx.AsyncClient(transport=httpx.ASGITransport(create_app(backend)), base_url="http://test")


async def test_request_id_and_key_are_passed_on():
    seen = []

    class Noting(FakeSession):
        async def complete(self, request, call):
            seen.append(call)
            return await super().complete(request, call)

    session = Noting()
    await session.start()
    server = GrpcServer(session, host="127.0.0.1", port=0, max_body=10_000)
    await server.start()
    await server.set_serving(True)
    async with connected(server) as backend, client_of(backend) as http:
        headers = {"x-request-id": "mine", "authorization": "Bearer key"}
        assert (await http.post(CHAT, json=say("hi"), headers=headers)).headers["x-request-id"] == "mine"
        await http.post(CHAT, json=say("hi"), headers={"authorization": b"Bearer \xe9"})
    assert seen[0] == RequestContext(request_id="mine", authorization="Bearer key")
    assert seen[1].authorization == ""
    await server.stop(0)


@pytest.mark.parametrize("stream", [False, True])
async def test_errors_are_rebuilt_whole(stream):
    async with listening() as (server, _), connected(server) as backend, client_of(backend) as http:
        reply = await http.post(CHAT, json=say("hi", stream=stream, temperature=3))
        assert (reply.status_code, reply.json()["error"]["param"]) == (400, "temperature")
        reply = await http.post(CHAT, json=say("full", stream=stream))
        assert (reply.status_code, reply.headers["retry-after-ms"]) == (429, "1")
        assert reply.json()["error"]["type"] == "requests"


async def test_a_request_that_only_the_backend_finds_too_large():
    async with listening(max_body=1024) as (server, _), connected(server) as backend, client_of(backend) as http:
        reply = await http.post(CHAT, json=say("x" * 5000))
        assert (reply.status_code, reply.json()["error"]["code"]) == (413, "request_too_large")


async def test_a_backend_that_dies_and_comes_back():
    async with listening() as (server, _), connected(server) as backend, client_of(backend) as http:
        await server.stop(0)
        await asyncio.wait_for(backend.until_ready(False), PATIENCE)
        for reply in (
            await http.post(CHAT, json=say("hi")),
            await http.post(CHAT, json=say("hi", stream=True)),
            await http.get("/v1/models"),
            await http.get("/v1/models/fake"),
        ):
            assert (reply.status_code, reply.json()["error"]["code"]) == (503, "engine_overloaded")
            assert reply.headers["retry-after"] and str(server.port) not in reply.text
        assert (await http.get("/health")).status_code == 503
        async with listening(server.port):
            await asyncio.wait_for(backend.until_ready(), PATIENCE)
            assert (await http.post(CHAT, json=say("hi"))).status_code == 200
            assert (await http.get("/health")).status_code == 200


@pytest.mark.parametrize("stream", [False, True])
async def test_a_backend_that_dies_during_an_answer(stream):
    async with listening() as (server, session), connected(server) as backend, client_of(backend) as http:
        waiting = asyncio.create_task(http.post(CHAT, json=say("hang", stream=stream)))
        await session.until_running(1)
        await server.stop(0)
        reply = await asyncio.wait_for(waiting, PATIENCE)
        if stream and reply.status_code == 200:  # the role was out
            assert json.loads(reply.text.split("\n\n")[-2][6:])["error"]["code"] == "engine_overloaded"
            assert "[DONE]" not in reply.text
        else:
            assert (reply.status_code, reply.json()["error"]["code"]) == (503, "engine_overloaded")


async def test_requests_go_to_the_servers_that_serve():
    async with listening() as (first, one), listening() as (second, two):
        targets = f"127.0.0.1:{first.port},127.0.0.1:{second.port}"
        backend = RemoteBackend(BackendConfig(backend=targets))
        await backend.start()

        async def asked(serving):
            while [replica.serving for replica in backend._replicas.all] != serving:
                await asyncio.sleep(0.01)
            one.requests.clear()
            two.requests.clear()
            for _ in range(6):
                await backend.complete(request("hi"), RequestContext(request_id="r"))
            return len(one.requests), len(two.requests)

        assert await asyncio.wait_for(asked([True, True]), PATIENCE) == (3, 3)
        await first.set_serving(False)
        assert await asyncio.wait_for(asked([False, True]), PATIENCE) == (0, 6) and backend.ready
        await second.stop(0)
        await first.set_serving(True)
        assert await asyncio.wait_for(asked([True, False]), PATIENCE) == (6, 0) and backend.ready
        await first.stop(0)
        await asyncio.wait_for(backend.until_ready(False), PATIENCE)
        async with client_of(backend) as http:
            reply = await http.post(CHAT, json=say("hi"))
            assert (reply.status_code, reply.json()["error"]["code"]) == (503, "engine_overloaded")
            assert "None of the 2 replicas" in reply.text and str(first.port) not in reply.text
        await backend.close()


@pytest.mark.parametrize("stream", [False, True])
async def test_cancelling_reaches_the_backend(stream):
    async with listening() as (server, session), connected(server) as backend:

        async def ask():
            if not stream:
                return await backend.complete(request("hang"), RequestContext(request_id="r"))
            return [chunk async for chunk in backend.stream(request("hang"), RequestContext(request_id="r"))]

        task = asyncio.create_task(ask())
        await session.until_running(1)
        task.cancel()
        await asyncio.wait_for(session.until_running(0), PATIENCE)


async def test_a_stream_that_is_closed_early_is_cancelled():
    async with listening() as (server, session), connected(server) as backend:
        chunks = backend.stream(request("hang"), RequestContext(request_id="r"))
        await anext(chunks)
        await chunks.aclose()
        await asyncio.wait_for(session.until_running(0), PATIENCE)


async def test_draining_lets_open_calls_finish():
    async with listening() as (server, session), connected(server) as backend:
        chunks = backend.stream(request("a b"), RequestContext(request_id="r"))
        first = await anext(chunks)
        draining = asyncio.create_task(backend.drain(PATIENCE))
        await asyncio.sleep(0)
        assert not backend.ready and not draining.done()
        with pytest.raises(ChatError) as caught:
            await backend.complete(request("hi"), RequestContext(request_id="r"))
        assert caught.value.code == "draining"
        rest = [chunk async for chunk in chunks]
        assert "".join(c.delta.content for chunk in (first, *rest) for c in chunk.choices) == "a b "
        await asyncio.wait_for(draining, PATIENCE)
        assert session.ready


@pytest.mark.parametrize(
    ("code", "status", "error"),
    [
        (grpc.StatusCode.UNAVAILABLE, 503, "engine_overloaded"),
        (grpc.StatusCode.CANCELLED, 503, "engine_overloaded"),
        (grpc.StatusCode.DEADLINE_EXCEEDED, 504, "timeout"),
        (grpc.StatusCode.UNKNOWN, 500, "internal_error"),
        (grpc.StatusCode.INTERNAL, 500, "internal_error"),
        (grpc.StatusCode.UNIMPLEMENTED, 500, "internal_error"),
    ],
)
async def test_statuses_of_something_in_between(code, status, error):
    class Proxy(service_pb2_grpc.ChatServiceServicer):
        async def Complete(self, request, context):
            await context.abort(code, "secret internals")

    server = grpc.aio.server()
    service_pb2_grpc.add_ChatServiceServicer_to_server(Proxy(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    backend = RemoteBackend(BackendConfig(backend=f"127.0.0.1:{port}"))
    async with client_of(backend) as http:
        reply = await http.post(CHAT, json=say("hi"))
        assert (reply.status_code, reply.json()["error"]["code"]) == (status, error)
        assert "secret" not in reply.text
    assert not backend.ready
    await backend.close()
    await server.stop(0)


def test_many_streams_at_once(run):
    server = run(Behind)
    texts = {}

    def ask(index):
        body = say(" ".join([str(index)] * 50), stream=True)
        texts[index] = httpx.post(f"{server.rest}{CHAT}", json=body, trust_env=False).text

    threads = [threading.Thread(target=ask, args=(index,)) for index in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for index, text in texts.items():
        assert text.count(f'"{index} "') == 50 and text.endswith("data: [DONE]\n\n")
    assert len(texts) == 16
