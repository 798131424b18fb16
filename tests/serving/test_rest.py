"""The REST server over real sockets, before the session and before a gRPC server in another process's place.

Exact bytes by httpx, semantics by the real openai package.
"""

from __future__ import annotations

import json
import socket
from urllib.parse import urlsplit

import httpx
import openai
import pytest

from tests.serving.conftest import Behind, Running

HELLO = {"model": "fake", "messages": [{"role": "user", "content": "hello you"}]}
CHAT = "/v1/chat/completions"


@pytest.fixture(scope="module", params=[Running, Behind], ids=["in process", "behind gRPC"])
def module_server(request):
    running = request.param()
    yield running
    running.stop()


@pytest.fixture
def http(server):
    with httpx.Client(base_url=server.rest, trust_env=False) as client:
        yield client


@pytest.fixture
def client(server):
    return openai.OpenAI(base_url=f"{server.rest}/v1", api_key="none", max_retries=0)


def say(text, **fields):
    return {"model": "fake", "messages": [{"role": "user", "content": text}], **fields}


def events(text):
    return [json.loads(line[6:]) for line in text.split("\n\n") if line.startswith("data: {")]


def test_plain_answer_exactly(http):
    reply = http.post(CHAT, json=HELLO)
    assert reply.json() == {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "fake",
        "system_fingerprint": "fp_0123456789",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "hello you "},
                "logprobs": None,
                "finish_reason": "stop",
            }
        ],
        "usage": {"prompt_tokens": 2, "completion_tokens": 2, "total_tokens": 4},
    }
    assert reply.headers["content-type"] == "application/json"
    assert reply.headers["x-request-id"].startswith("req_")
    assert reply.headers["openai-version"] == "2020-10-01"
    assert reply.headers["openai-processing-ms"].isdigit()
    assert reply.headers["x-jaxchat-seed"] == "-7"


def test_stream_exactly(http):
    reply = http.post(CHAT, json=say("hi", stream=True), headers={"x-request-id": "my.id-1"})
    head = '{"id":"chatcmpl-1","object":"chat.completion.chunk","created":1,"model":"fake"'
    head += ',"system_fingerprint":"fp_0123456789","choices":[{"index":0,"delta":'
    assert reply.text == (
        f'data: {head}{{"role":"assistant","content":""}},"logprobs":null,"finish_reason":null}}]}}\n\n'
        f'data: {head}{{"content":"hi "}},"logprobs":null,"finish_reason":null}}]}}\n\n'
        f'data: {head}{{}},"logprobs":null,"finish_reason":"stop"}}]}}\n\n'
        "data: [DONE]\n\n"
    )
    assert reply.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert reply.headers["cache-control"] == "no-cache"
    assert reply.headers["x-accel-buffering"] == "no"
    assert reply.headers["x-request-id"] == "my.id-1"


def test_usage_in_streams(http):
    body = say("hi", stream=True, stream_options={"include_usage": True})
    *others, last = events(http.post(CHAT, json=body).text)
    assert all(event["usage"] is None for event in others)
    assert last["choices"] == [] and last["usage"]["total_tokens"] == 2


def test_torn_stream_has_an_error_and_no_done(http):
    text = http.post(CHAT, json=say("a tear", stream=True)).text
    assert events(text)[-1] == {
        "error": {"message": "torn", "type": "server_error", "param": None, "code": "internal_error"}
    }
    assert "[DONE]" not in text


@pytest.mark.parametrize("stream", [False, True])
def test_errors_are_plain_json(http, stream):
    reply = http.post(CHAT, json=say("hi", stream=stream, temperature=-1))
    assert reply.status_code == 400
    assert reply.headers["content-type"] == "application/json"
    assert reply.json()["error"] == {
        "message": "Invalid value for 'temperature': must be from 0 to 2, got -1.0.",
        "type": "invalid_request_error",
        "param": "temperature",
        "code": None,
    }


@pytest.mark.parametrize(
    ("content", "content_type", "status", "code"),
    [
        (b"{}", "text/plain", 415, None),
        (b"{", "application/json", 400, "invalid_json"),
        (b"[]", "application/json; charset=utf-8", 400, "invalid_json"),
        (b'{"temperature": NaN}', "application/json", 400, "invalid_json"),
        (b"\xff", "application/json", 400, "invalid_json"),
        (b"[" * 50_000, "application/json", 400, "invalid_json"),
        (b'{"a":' * 70 + b"1" + b"}" * 70, "application/json", 400, None),
        (b'"' + b"x" * 200_000 + b'"', "application/json", 413, "request_too_large"),
        (b"{}", "application/json", 400, None),
    ],
)
def test_bad_bodies(http, content, content_type, status, code):
    reply = http.post(CHAT, content=content, headers={"content-type": content_type})
    assert (reply.status_code, reply.json()["error"]["code"]) == (status, code)


def test_body_without_length_is_limited(http):
    reply = http.post(CHAT, content=(b"x" * 10_000 for _ in range(20)), headers={"content-type": "application/json"})
    assert reply.status_code == 413


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", CHAT, 405),
        ("GET", "/nowhere", 404),
        ("POST", "/v1/chat/completions/", 404),
        ("PUT", "/health", 405),
    ],
)
def test_unknown_paths_and_methods(http, method, path, status):
    reply = http.request(method, path)
    assert reply.status_code == status
    assert set(reply.json()["error"]) == {"message", "type", "param", "code"}
    assert "x-request-id" in reply.headers


def test_models_and_health(http):
    model = {"id": "fake", "object": "model", "created": 1, "owned_by": "tests"}
    assert http.get("/v1/models").json() == {"object": "list", "data": [model]}
    assert http.get("/v1/models/fake").json() == model
    assert http.get("/v1/models/a/b").json()["error"]["code"] == "model_not_found"
    assert http.get("/health").status_code == 200


def test_busy_and_broken(http):
    busy = http.post(CHAT, json=say("full"))
    assert (busy.status_code, busy.headers["retry-after"], busy.headers["retry-after-ms"]) == (429, "1", "1")
    broken = http.post(CHAT, json=say("bug"))
    assert (broken.status_code, broken.headers["x-should-retry"]) == (500, "false")
    assert "secret" not in broken.text and "x-request-id" in broken.headers
    assert http.post(CHAT, json=say("bug", stream=True)).status_code == 500


def test_not_ready(server, http):
    server.set_ready(False)
    assert http.get("/health").status_code == 503
    assert http.post(CHAT, json=HELLO).json()["error"]["code"] == "not_ready"
    server.set_ready(True)
    assert http.get("/health").status_code == 200


@pytest.mark.parametrize("stream", [False, True])
def test_disconnect_frees_the_slot(server, stream):
    body = json.dumps(say("hang", stream=stream)).encode()
    address = urlsplit(server.rest)
    with socket.create_connection((address.hostname, address.port)) as connection:
        connection.sendall(
            b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
            + f"content-length: {len(body)}\r\n\r\n".encode()
            + body
        )
        server.wait(server.session.until_running(1))
    server.wait(server.session.until_running(0))


def test_openai_client(client):
    answer = client.chat.completions.create(**HELLO, logprobs=True, top_logprobs=0, n=2)
    assert [choice.message.content for choice in answer.choices] == ["hello you "] * 2
    assert answer.choices[1].logprobs.content[0].bytes == list(b"hello ")
    assert [model.id for model in client.models.list()] == ["fake"]
    assert client.models.retrieve("fake").owned_by == "tests"


def test_openai_stream(client):
    stream = client.chat.completions.create(**HELLO, stream=True)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in stream) == "hello you "


def test_openai_stream_helper(client):
    with client.chat.completions.stream(**HELLO, n=2, stream_options={"include_usage": True}) as stream:
        answer = stream.get_final_completion()
    assert [choice.message.content for choice in answer.choices] == ["hello you "] * 2
    assert answer.usage.total_tokens == 2


def test_openai_errors(client):
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(**HELLO, max_tokens=0)
    assert (caught.value.param, caught.value.type) == ("max_tokens", "invalid_request_error")
    with pytest.raises(openai.NotFoundError) as missing:
        client.chat.completions.create(**HELLO | {"model": "other"})
    assert missing.value.code == "model_not_found"
    with pytest.raises(openai.RateLimitError):
        client.chat.completions.create(**say("full"))
    with pytest.raises(openai.APIError, match="torn"):
        list(client.chat.completions.create(**say("tear"), stream=True))


async def test_openai_async(server):
    async with openai.AsyncOpenAI(base_url=f"{server.rest}/v1", api_key="none") as client:
        answer = await client.chat.completions.create(**HELLO)
        assert answer.choices[0].message.content == "hello you "
        stream = await client.chat.completions.create(**HELLO, stream=True)
        assert "".join([chunk.choices[0].delta.content or "" async for chunk in stream]) == "hello you "


def test_a_client_that_sends_far_too_much_still_reads_the_refusal(http):
    for _ in range(5):
        reply = http.post(CHAT, content=b"x" * 20_000_000, headers={"content-type": "application/json"}, timeout=30)
        assert reply.status_code == 413
