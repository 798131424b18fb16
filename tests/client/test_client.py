"""The Python client over gRPC: the openai call shape, errors, cancellation."""

from __future__ import annotations

import asyncio

import pytest

from jaxchat import v1
from jaxchat.client import AsyncClient, Client
from jaxchat.errors import ChatError

HELLO = {"model": "fake", "messages": [{"role": "user", "content": "hello you"}]}
HANG = {"model": "fake", "messages": [{"role": "user", "content": "hang"}]}


@pytest.fixture
def client(server):
    with Client(server.grpc) as client:
        yield client


def test_a_client_says_what_it_talks_to():
    client = Client("example.com:50051")
    assert repr(client) == "<Client of gRPC example.com:50051>"
    client.close()
    assert repr(client) == "<Client of gRPC example.com:50051, closed>"


def test_create(client, server):
    answer = client.chat.completions.create(**HELLO, temperature=0, seed=-(2**63))
    assert answer.choices[0].message.content == "hello you "
    assert answer.choices[0].finish_reason == "stop"
    request = server.session.requests[-1]
    assert request.HasField("temperature") and request.temperature == 0
    assert request.seed == -(2**63)


def test_messages_of_answers_and_of_the_protocol_can_be_sent_back(client, server):
    message = client.chat.completions.create(**HELLO).choices[0].message
    again = v1.ChatMessage(role=v1.ROLE_USER, text="again")
    for sent in (message, message.proto, message.model_dump()):
        history = [*HELLO["messages"], sent, again]
        answer = client.chat.completions.create(model="fake", messages=history)
        assert answer.choices[0].message.content == "again "
        assert server.session.requests[-1].messages[1].text == "hello you "


def test_stream(client):
    chunks = list(client.chat.completions.create(**HELLO, stream=True, stream_options={"include_usage": True}))
    assert "".join(c.delta.content or "" for chunk in chunks for c in chunk.choices) == "hello you "
    assert chunks[-1].usage and not any(chunk.usage for chunk in chunks[:-1])


def test_the_transport_takes_messages_of_the_protocol(client):
    request = v1.ChatCompletionRequest(model="fake", messages=[v1.ChatMessage(role=v1.ROLE_USER, text="hi")])
    assert client.transport.complete(request).choices[0].message.content == "hi "


@pytest.mark.parametrize("stream", [False, True])
def test_errors_come_from_create(client, stream):
    with pytest.raises(ChatError) as caught:
        client.chat.completions.create(**HELLO, stream=stream, top_p=2.0)
    error = caught.value
    assert (error.param, error.code, error.http_status) == ("top_p", None, 400)
    assert error.message == "Invalid value for 'top_p': must be from 0 to 1, got 2.0."
    assert error.request_id and error.request_id.startswith("req_")


def test_unknown_keyword_is_refused_before_any_call(client):
    with pytest.raises(ChatError) as caught:
        client.chat.completions.create(**HELLO, temprature=1)
    assert (caught.value.param, caught.value.code) == ("temprature", "unknown_parameter")


def test_a_class_as_response_format_names_parse(client):
    with pytest.raises(ChatError, match=r"chat\.completions\.parse") as caught:
        client.chat.completions.create(**HELLO, response_format=dict)
    assert caught.value.param == "response_format"


def test_retry_after_and_type_survive(client):
    with pytest.raises(ChatError) as caught:
        client.chat.completions.create(model="fake", messages=[{"role": "user", "content": "full"}])
    error = caught.value
    assert (error.http_status, error.type, error.code, error.retry_after) == (
        429,
        "requests",
        "rate_limit_exceeded",
        0.001,
    )


def test_timeout(client):
    with pytest.raises(ChatError) as caught:
        client.chat.completions.create(**HANG, timeout=0.05)
    assert (caught.value.code, caught.value.http_status) == ("timeout", 504)


def test_no_server():
    with Client("127.0.0.1:1", timeout=30) as client, pytest.raises(ChatError) as caught:
        client.models.list()
    assert caught.value.http_status == 503


def test_closing_a_stream_cancels_and_ends_it(client, server):
    with client.chat.completions.create(**HANG, stream=True) as stream:
        next(stream)
        server.wait(server.session.until_running(1))
    server.wait(server.session.until_running(0))
    assert list(stream) == []


def test_models(client):
    assert [model.id for model in client.models.list()] == ["fake"]
    assert client.models.retrieve("fake").id == "fake"
    with pytest.raises(ChatError) as caught:
        client.models.retrieve("other")
    assert (caught.value.code, caught.value.http_status) == ("model_not_found", 404)


def test_a_closed_client_refuses_calls(client):
    client.close()
    for call in (client.models.list, lambda: client.chat.completions.create(**HELLO)):
        with pytest.raises(ChatError) as caught:
            call()
        assert caught.value.code == "draining"


def test_options_belong_to_a_grpc_target(client):
    with pytest.raises(TypeError, match="api_key"):
        Client(client.transport, api_key="x")


async def test_async_client(server):
    async with AsyncClient(server.grpc) as client:
        answer = await client.chat.completions.create(**HELLO)
        assert answer.choices[0].message.content == "hello you "
        stream = await client.chat.completions.create(**HELLO, stream=True)
        texts = [chunk.choices[0].delta.content or "" async for chunk in stream]
        assert "".join(texts) == "hello you "
        assert [model.id for model in await client.models.list()] == ["fake"]
        assert (await client.models.retrieve("fake")).id == "fake"
        with pytest.raises(ChatError):
            await client.chat.completions.create(**HELLO, stream=True, n=0)
    with pytest.raises(ChatError, match="closed"):
        await client.chat.completions.create(**HELLO)


async def test_async_cancellation(server):
    async with AsyncClient(server.grpc) as client:
        task = asyncio.create_task(client.chat.completions.create(**HANG))
        await asyncio.to_thread(server.wait, server.session.until_running(1))
        task.cancel()
        await asyncio.to_thread(server.wait, server.session.until_running(0))
        async with await client.chat.completions.create(**HANG, stream=True) as stream:
            await anext(stream)
        await asyncio.to_thread(server.wait, server.session.until_running(0))
        assert [chunk async for chunk in stream] == []
