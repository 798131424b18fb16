"""The HTTP side: endpoints, headers, and what is not a chat request at all."""

from __future__ import annotations

import itertools
import json
import socket
import time

import openai
import pytest

from jaxchat import v1
from jaxchat.errors import ChatError
from tests.contract.covering import SEEN, covers, fields_of
from tests.contract.place import MAX_BODY, PATIENCE, Place

CHAT = "/v1/chat/completions"
PARTS = ("tools", "calls", "results", "system")
BODY = {"model": "echo", "messages": [{"role": "user", "content": "hi"}]}
JSON = {"content-type": "application/json"}


def read_error(reply) -> dict:
    error = reply.json()["error"]
    assert reply.headers["content-type"] == "application/json"
    assert set(error) == {"message", "type", "param", "code"} and error["message"]
    assert error["type"] == "invalid_request_error"
    return error


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", CHAT, 200),
        ("GET", "/v1/models", 200),
        ("GET", "/health", 200),
        ("GET", CHAT, 405),
        ("GET", "/nowhere", 404),
        ("DELETE", "/v1/models/echo", 405),
        ("POST", CHAT + "/", 404),
        ("POST", "/v1/completions", 400),
        ("POST", "/v1/embeddings", 404),
    ],
)
def test_every_response_has_the_headers(echo_place: Place, method: str, path: str, status: int) -> None:
    content = json.dumps(BODY).encode() if method == "POST" else None
    reply = echo_place.http.request(method, path, content=content, headers=JSON)
    assert reply.status_code == status
    assert reply.headers["openai-version"] == "2020-10-01"
    assert reply.headers["openai-processing-ms"].isdigit()
    assert reply.headers["x-request-id"].startswith("req_")
    if status >= 400:
        assert path in read_error(reply)["message"]
    if status == 405:
        assert reply.headers["allow"]


@pytest.mark.parametrize("body", [BODY, BODY | {"stream": True}, BODY | {"n": 0}])
def test_a_clients_own_request_id_is_echoed_where_usable(echo_place: Place, body: dict) -> None:
    def echoed_request_id(request_id: str) -> str:
        return echo_place.http.post(CHAT, json=body, headers={"x-request-id": request_id}).headers["x-request-id"]

    assert echoed_request_id("My.id_-1") == "My.id_-1" and echoed_request_id("x" * 64) == "x" * 64
    for bad in ("x" * 65, "a b", "a/b", ""):
        assert echoed_request_id(bad).startswith("req_")
    assert echoed_request_id("") != echoed_request_id("")


@pytest.mark.parametrize("kind", ["text/plain", "application/jsonp", "multipart/form-data", "", None])
def test_other_content_types_are_415(echo_place: Place, kind: str | None) -> None:
    headers = {} if kind is None else {"content-type": kind}
    reply = echo_place.http.post(CHAT, content=json.dumps(BODY).encode(), headers=headers)
    assert reply.status_code == 415 and read_error(reply)["code"] is None


@pytest.mark.parametrize("kind", ["application/json", "Application/JSON; charset=utf-8"])
def test_parameters_of_the_content_type_are_fine(echo_place: Place, kind: str) -> None:
    reply = echo_place.http.post(CHAT, content=json.dumps(BODY).encode(), headers={"content-type": kind})
    assert reply.status_code == 200


@pytest.mark.parametrize(
    "content",
    [
        *(b"", b"{", b"null", b"[]", b"5", b'"x"', b"{}x", b"\xff{}", b"{'a': 1}"),
        *(b'{"temperature": NaN}', b'{"temperature": Infinity}', b"[" * 50_000),
        json.dumps(BODY).encode("utf-16"),
    ],
)
def test_bodies_that_are_no_json_object(echo_place: Place, content: bytes) -> None:
    reply = echo_place.http.post(CHAT, content=content, headers=JSON)
    assert reply.status_code == 400
    error = read_error(reply)
    assert (error["code"], error["param"]) == ("invalid_json", None)


def test_nesting_is_limited(echo_place: Place) -> None:
    def post_nested_schema(depth: int) -> tuple[int, str]:
        schema: dict = {}
        for _ in range(depth):
            schema = {"properties": schema}
        tools = [{"type": "function", "function": {"name": "f", "parameters": schema}}]
        reply = echo_place.http.post(CHAT, json=BODY | {"tools": tools})
        return reply.status_code, "" if reply.status_code == 200 else read_error(reply)["message"]

    assert post_nested_schema(50)[0] == 200
    for depth in (64, 500):
        code, message = post_nested_schema(depth)
        assert code == 400 and "64" in message


def test_large_bodies_are_413(echo_place: Place) -> None:
    data = json.dumps(BODY | {"user": "x" * MAX_BODY}).encode()
    parts = (data[at : at + 50_000] for at in range(0, len(data), 50_000))  # without a declared length
    reply = echo_place.http.post(CHAT, content=parts, headers=JSON)
    assert reply.status_code == 413
    error = read_error(reply)
    assert error["code"] == "request_too_large" and str(MAX_BODY) in error["message"]


def test_a_declared_length_beyond_the_limit_is_refused_before_the_body_comes(echo_place: Place) -> None:
    host, port = echo_place.rest.removeprefix("http://").split(":")
    head = f"POST {CHAT} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {10**12}\r\n\r\n"
    with socket.create_connection((host, int(port)), timeout=PATIENCE) as connection:
        connection.sendall(head.encode())
        received = b""
        while part := connection.recv(4096):
            received += part
    assert received.startswith(b"HTTP/1.1 413 ") and b"request_too_large" in received


@covers(
    *("ListModelsResponse.models", "GetModelRequest.model"),
    *(f"Model.{field}" for field in ("id", "created", "owned_by", "chat_template")),
    *(f"ChatTemplate.{field}" for field in ("tool_format", *PARTS)),
)
def test_models(echo_place: Place) -> None:
    template = {"tool_format": "hermes", **dict.fromkeys(PARTS, "template")}
    model = {"id": "echo", "object": "model", "created": 1, "owned_by": "jaxchat", "chat_template": template}
    assert echo_place.http.get("/v1/models").json() == {"object": "list", "data": [model]}
    assert echo_place.http.get("/v1/models/echo").json() == model
    assert [found.to_dict() for found in echo_place.openai.models.list()] == [model]
    assert echo_place.openai.models.retrieve("echo").created == 1
    listed, asked = echo_place.stub.ListModels(v1.ListModelsRequest()), v1.GetModelRequest(model="echo")
    SEEN.sent.update(fields_of(asked))
    for found in (listed.models[0], echo_place.stub.GetModel(asked)):
        assert (found.id, found.created, found.owned_by) == ("echo", 1, "jaxchat")
    for client in (echo_place.client, echo_place.in_process):
        assert client.models.retrieve("echo").model_dump() == model
        assert [found.model_dump() for found in client.models.list()] == [model]
    SEEN.received.update(fields_of(listed))


def test_unknown_models_are_404(echo_place: Place) -> None:
    reply = echo_place.http.get("/v1/models/some/body")
    assert reply.status_code == 404 and read_error(reply)["code"] == "model_not_found"
    with pytest.raises(openai.NotFoundError):
        echo_place.openai.models.retrieve("nobody")
    for client, name in itertools.product((echo_place.client, echo_place.in_process), ("nobody", "")):
        with pytest.raises(ChatError) as refused:
            client.models.retrieve(name)
        assert (refused.value.http_status, refused.value.code) == (404, "model_not_found")


def test_the_time_of_acceptance_is_reported(echo_place: Place) -> None:
    before = int(time.time())
    created = echo_place.http.post(CHAT, json=BODY).json()["created"]
    assert before <= created <= time.time()
