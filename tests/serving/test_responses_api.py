"""POST /v1/responses over real sockets: exact bytes, errors, and connections that end early."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from jaxchat.errors import timeout
from serving.rest import create_app
from tests.serving.conftest import Behind, Running
from tests.serving.test_keep_alive import SlowSession

PATH = "/v1/responses"


@pytest.fixture(scope="module", params=[Running, Behind], ids=["in process", "behind gRPC"])
def module_server(request):
    running = request.param()
    yield running
    running.stop()


@pytest.fixture
def http(server):
    with httpx.Client(base_url=server.rest, trust_env=False) as client:
        yield client


def ask(text: Any, **fields: Any) -> dict[str, Any]:
    return {"model": "fake", "input": text, **fields}


def events(text: str) -> list[dict[str, Any]]:
    blocks = [block.split("\n") for block in text.split("\n\n") if block and not block.startswith(":")]
    parsed = [json.loads(data.removeprefix("data: ")) for _, data in blocks]
    assert [name for name, _ in blocks] == [f"event: {event['type']}" for event in parsed]
    return parsed


def test_a_plain_answer(http):
    reply = http.post(PATH, json=ask("hello you", user="u"))
    response = reply.json()
    assert reply.headers["content-type"] == "application/json"
    assert reply.headers["x-jaxchat-seed"] == "-7"
    part = {"type": "output_text", "text": "hello you ", "annotations": [], "logprobs": []}
    message = {"id": "msg_10", "type": "message", "role": "assistant", "status": "completed", "content": [part]}
    assert response["output"] == [message]
    assert (response["object"], response["status"], response["user"]) == ("response", "completed", "u")
    assert response["usage"]["total_tokens"] == 4


def test_the_bytes_of_a_stream(http):
    reply = http.post(PATH, json=ask("hi", stream=True))
    assert reply.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert reply.headers["cache-control"] == "no-cache"
    assert reply.headers["x-jaxchat-seed"] == "-7"
    delta = '{"type":"response.output_text.delta","sequence_number":4,"item_id":"msg_10","output_index":0'
    delta += ',"content_index":0,"delta":"hi ","logprobs":[]}'
    assert f"\n\nevent: response.output_text.delta\ndata: {delta}\n\n" in reply.text
    assert reply.text.startswith("event: response.created\ndata: {") and reply.text.endswith("}\n\n")
    assert [event["type"] for event in events(reply.text)][-1] == "response.completed"


def test_the_request_is_the_same_streamed_and_not(http, server):
    fields = {"instructions": "Be brief.", "seed": 3, "max_output_tokens": 5}
    http.post(PATH, json=ask("hi", **fields))
    http.post(PATH, json=ask("hi", stream=True, **fields))
    plain, streamed = server.session.requests[-2:]
    assert streamed.stream_options.include_usage and not plain.HasField("stream_options")
    streamed.ClearField("stream_options")
    assert plain == streamed


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("fields", "status", "param"),
    [
        ({"max_output_tokens": -1}, 400, "max_output_tokens"),
        ({"tools": [{"type": "function", "name": "a b"}]}, 400, "tools.0.name"),
        ({"store": True}, 400, "store"),
        ({"previous_response_id": "resp_1"}, 400, "previous_response_id"),
        ({"model": "other"}, 404, "model"),
    ],
)
def test_errors_before_the_answer_are_plain_json(http, stream, fields, status, param):
    reply = http.post(PATH, json=ask("hi", stream=stream, **fields))
    assert (reply.status_code, reply.headers["content-type"]) == (status, "application/json")
    assert reply.json()["error"]["param"] == param


def test_fields_that_could_be_ignored_say_so(http):
    for fields in ({"mood": 1}, {"store": True}, {"tools": [{"type": "web_search"}]}):
        assert "--allow-unknown-fields" in http.post(PATH, json=ask("hi", **fields)).json()["error"]["message"]
    assert "--allow" not in http.post(PATH, json=ask("hi", previous_response_id="r")).json()["error"]["message"]


def test_a_server_that_ignores_unknown_fields(run):
    server = run(allow_unknown_fields=True)
    body = ask("hi", mood=1, store=True, tools=[{"type": "web_search"}])
    response = httpx.post(f"{server.rest}{PATH}", json=body, trust_env=False).json()
    assert (response["status"], response["tools"], response["store"]) == ("completed", [], False)


def test_a_full_queue(http):
    reply = http.post(PATH, json=ask("full"))
    assert (reply.status_code, reply.json()["error"]["code"]) == (429, "rate_limit_exceeded")
    assert reply.headers["retry-after-ms"] == "1"


def test_a_torn_stream_ends_with_a_failed_response(http):
    *_, last = events(http.post(PATH, json=ask("a tear", stream=True)).text)
    assert (last["type"], last["response"]["status"]) == ("response.failed", "failed")
    assert last["response"]["error"]["message"] == "torn"


async def test_comments_keep_a_stream_open_and_errors_are_events_then():
    for error, kind in ((timeout(), "error"), (None, "response.completed")):
        app = create_app(SlowSession(before=0.3, error=error), keep_alive=0.02)
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
            text = (await client.post(PATH, json=ask("hi", stream=True))).text
        assert text.startswith(": waiting\n\n")
        assert events(text)[-1]["type"] == kind


def test_a_client_that_leaves_frees_its_slot(http, server):
    with http.stream("POST", PATH, json=ask("hang", stream=True)) as reply:
        assert next(reply.iter_lines()) == "event: response.created"
    server.wait(server.session.until_running(0))


def test_other_paths_and_methods(http):
    assert http.get(PATH).status_code == 405
    reply = http.get(f"{PATH}/resp_1")
    assert reply.status_code == 404
    assert "stores no responses" in reply.json()["error"]["message"]
