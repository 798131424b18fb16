"""Kept connections after errors: the next request on the same one works, or the answer said `connection: close`."""

from __future__ import annotations

import json
from http.client import HTTPConnection
from importlib.util import find_spec

import httpx
import pytest
import uvicorn.config
from starlette.responses import StreamingResponse

from serving.rest import create_app
from serving.rest.metrics import create_metrics_app
from serving.rest.middleware import AnswerFailures
from serving.rest.server import RestServer
from tests.serving.conftest import Running
from tests.serving.fake_session import FakeSession

CHAT = "/v1/chat/completions"


@pytest.fixture(params=["h11", "httptools"])
def running(request, monkeypatch, run) -> Running:
    """A server on each of uvicorn's implementations of HTTP that is installed."""
    if not find_spec(request.param):
        pytest.skip(f"{request.param} is not installed")
    protocols = uvicorn.config.HTTP_PROTOCOLS
    monkeypatch.setitem(protocols, "auto", protocols[request.param])
    return run()


@pytest.fixture
def connection(running):
    address = running.rest.removeprefix("http://")
    connection = HTTPConnection(address, timeout=10)
    yield connection
    connection.close()


def ask(connection: HTTPConnection, text: str, **fields) -> tuple[int, str | None]:
    """Status and `connection` header of the answer to a request on this connection."""
    body = {"model": "fake", "messages": [{"role": "user", "content": text}]} | fields
    connection.request("POST", CHAT, json.dumps(body), {"content-type": "application/json"})
    reply = connection.getresponse()
    reply.read()
    return reply.status, reply.headers["connection"]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("text", "status"), [("bug", 500), ("nan", 500), ("full", 429)])
def test_a_connection_outlives_an_error(connection, text, status, stream):
    connection.connect()
    before = connection.sock
    for _ in range(3):
        assert ask(connection, text, stream=stream) == (status, None)
        assert ask(connection, "hello") == (200, None)
    assert connection.sock is before  # `http.client` would connect again


def test_a_draining_server_says_that_it_closes(running, connection):
    assert ask(connection, "hello") == (200, None)
    running.wait(running.session.drain(0))
    assert ask(connection, "hello") == (503, "close")
    assert connection.sock is None


class Broken(FakeSession):
    """Its list of models fails, and so does its page of metrics."""

    async def models(self, call):
        raise KeyError("secret")

    def page(self):
        raise KeyError("secret")


@pytest.mark.parametrize(
    ("make", "path"), [(create_app, "/v1/models"), (create_metrics_app, "/metrics")], ids=["API", "metrics"]
)
async def test_a_failure_is_answered_and_logged(make, path, caplog):
    transport = httpx.ASGITransport(make(Broken()))  # raises what the application raises
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        reply = await client.get(path, headers={"x-request-id": "mine"})
    assert (reply.status_code, reply.headers["x-should-retry"]) == (500, "false")
    assert reply.json()["error"]["code"] == "internal_error" and "secret" not in reply.text
    [record] = caplog.records
    assert record.exc_info and (path == "/metrics" or "mine" in record.getMessage())


async def test_a_response_that_has_begun_is_cut_off():
    async def parts():
        yield "begun"
        raise KeyError("secret")

    async def app(scope, receive, send):
        await StreamingResponse(parts())(scope, receive, send)

    server = RestServer(AnswerFailures(app), host="127.0.0.1", port=0)
    await server.start()
    try:
        async with httpx.AsyncClient(trust_env=False) as client:
            with pytest.raises(httpx.RemoteProtocolError):
                await client.get(f"http://127.0.0.1:{server.port}/")
    finally:
        await server.stop(0)
