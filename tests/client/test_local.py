"""The client in process: a session behind a transport, without a model."""

from __future__ import annotations

import asyncio
import gc
import threading
import time
from collections.abc import Iterator

import pydantic
import pytest

from jaxchat.client import AsyncClient, Client
from jaxchat.client.local import AsyncLocalTransport, LocalTransport
from jaxchat.errors import ChatError
from tests.contract.echo import PAUSE, EchoRunner, echo_session

HELLO = {"messages": [{"role": "user", "content": "hello"}]}
SLOW = {"messages": [{"role": "user", "content": f"ab{PAUSE}{'x' * 500}"}]}
PATIENCE = 20.0


@pytest.fixture
def echo() -> Iterator[tuple[Client, EchoRunner]]:
    session, runner = echo_session()
    with Client(LocalTransport(session)) as client:
        yield client, runner
        runner.gate.set()


def until_idle(client: Client) -> None:
    end = time.monotonic() + PATIENCE
    while client.transport.session.generations.running:
        assert time.monotonic() < end
        time.sleep(0.002)


def test_the_model_may_be_left_out(echo):
    client, _ = echo
    answer = client.chat.completions.create(**HELLO)
    assert (answer.model, answer.choices[0].message.content) == ("echo", "hello")
    assert [model.id for model in client.models.list()] == ["echo"]
    with pytest.raises(ChatError, match="nobody"):
        client.chat.completions.create(**HELLO, model="nobody")


def test_answers_can_be_sent_back(echo):
    client, runner = echo
    message = client.chat.completions.create(**HELLO).choices[0].message
    for sent in (message, message.model_dump()):
        again = [*HELLO["messages"], sent, {"role": "user", "content": "more"}]
        assert client.chat.completions.create(messages=again).choices[0].message.content == "more"
        assert "assistant\nhello" in runner.prompts[-1]


def test_a_session_that_cannot_start_leaves_no_thread(monkeypatch):
    session, _ = echo_session()

    async def start() -> None:
        raise RuntimeError("no memory for a thread")

    monkeypatch.setattr(session, "start", start)
    before = {*threading.enumerate()}
    with pytest.raises(RuntimeError, match="no memory"):
        LocalTransport(session)
    assert "jaxchat-loop" not in {thread.name for thread in {*threading.enumerate()} - before}


class Greeting(pydantic.BaseModel):
    text: str


def test_parse(echo):
    client, _ = echo
    asked = [{"role": "user", "content": '{"text":"hi"}'}]
    answer = client.chat.completions.parse(messages=asked, response_format=Greeting)
    assert answer.choices[0].message.parsed == Greeting(text="hi")


@pytest.mark.parametrize("stream", [False, True])
def test_a_timeout_frees_the_place(echo, stream):
    client, runner = echo
    with pytest.raises(ChatError) as late:
        list(client.chat.completions.create(**SLOW, stream=stream, timeout=0.2))
    assert (late.value.http_status, late.value.code) == (504, "timeout")
    runner.gate.set()
    until_idle(client)


def test_an_abandoned_stream_frees_its_place(echo):
    client, runner = echo
    stream = client.chat.completions.create(**SLOW, stream=True)
    next(stream)
    assert client.transport.session.generations.running
    del stream
    gc.collect()
    until_idle(client)
    runner.gate.set()


def test_a_stream_can_be_closed_by_another_thread(echo):
    client, runner = echo
    stream = client.chat.completions.create(**SLOW, stream=True)
    next(stream)
    closing = threading.Thread(target=stream.close)
    closing.start()
    closing.join(PATIENCE)
    assert not closing.is_alive() and list(stream) == []
    runner.gate.set()
    until_idle(client)


def test_nothing_is_left_of_a_closed_client(echo):
    client, _ = echo
    stream = client.chat.completions.create(**HELLO, stream=True)
    client.close()
    client.close()
    assert not any(thread.name == "jaxchat-loop" and thread.is_alive() for thread in [client.transport._thread])
    for call in (client.models.list, lambda: client.chat.completions.create(**HELLO), lambda: list(stream)[1:]):
        with pytest.raises(ChatError) as refused:
            call()
        assert refused.value.code == "draining"


def test_the_asynchronous_client():
    async def scenario() -> None:
        session, runner = echo_session()
        await session.start()
        async with AsyncClient(AsyncLocalTransport(session)) as client:
            answer = await client.chat.completions.create(**HELLO)
            assert answer.choices[0].message.content == "hello"
            with pytest.raises(ChatError, match="temperature"):
                await client.chat.completions.create(**HELLO, stream=True, temperature=9)
            async with await client.chat.completions.create(**SLOW, stream=True) as stream:
                assert (await anext(stream)).choices[0].delta.role == "assistant"
            runner.gate.set()
            assert [chunk async for chunk in stream] == [] and not session.generations.running
            with pytest.raises(ChatError, match="deadline"):
                await client.chat.completions.create(**SLOW, timeout=0.1)
            runner.gate.set()
            parsed = await client.chat.completions.parse(
                messages=[{"role": "user", "content": '{"text":"hi"}'}], response_format=Greeting
            )
            assert parsed.choices[0].message.parsed == Greeting(text="hi")
            assert [model.id for model in await client.models.list()] == ["echo"]
        with pytest.raises(ChatError, match="closed"):
            await client.models.list()

    asyncio.run(scenario())


def test_leaving_a_stream_of_a_text_completion_ends_it():
    slow = f"<|im_start|>user\nab{PAUSE}{'x' * 500}<|im_end|>\n<|im_start|>assistant\n"

    async def scenario() -> None:
        session, runner = echo_session()
        await session.start()
        async with AsyncClient(AsyncLocalTransport(session)) as client:
            async with await client.completions.create(prompt=slow, max_tokens=600, stream=True) as stream:
                assert (await anext(stream)).choices[0].text.startswith("a")
            runner.gate.set()
            assert [part async for part in stream] == [] and not session.generations.running
            with pytest.raises(ChatError, match="deadline"):
                await client.completions.create(prompt=slow, max_tokens=600, timeout=0.1)
            runner.gate.set()

    asyncio.run(scenario())


def test_garbage_collection_of_a_text_stream_ends_it(echo):
    client, _runner = echo
    slow = f"<|im_start|>user\nab{PAUSE}{'x' * 500}<|im_end|>\n<|im_start|>assistant\n"
    stream = client.completions.create(prompt=slow, max_tokens=600, stream=True)
    assert next(stream).choices[0].text.startswith("a")
    del stream
    gc.collect()
    until_idle(client)
