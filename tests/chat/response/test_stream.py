"""Readers, deadlines and failures: whatever happens to one request, its slot comes back and nobody else notices."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from jaxchat.api import load_session
from jaxchat.chat.context import Record
from jaxchat.client import AsyncClient
from jaxchat.client.local import AsyncLocalTransport
from jaxchat.config import ChatConfig, EngineConfig
from jaxchat.errors import ChatError

HELLO = [{"role": "user", "content": "Hello"}]
ENDLESS = {"messages": HELLO, "max_tokens": 900, "logit_bias": {"3": 100}}


async def started(model: Path, slots: int = 4, **limits) -> AsyncClient:
    engine = EngineConfig(slots=slots, prefill_chunk=32)
    session = await asyncio.to_thread(load_session, str(model), engine, chat=ChatConfig(**limits))
    await session.start()
    return AsyncClient(AsyncLocalTransport(session))


async def until(happened: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not happened():
            await asyncio.sleep(0.001)


async def idle(client: AsyncClient) -> None:
    """Returns once slots, pages and queue are back at zero."""
    async with asyncio.timeout(20):
        while (stats := client.transport.session.stats).waiting or stats.running or stats.pages_in_use:
            await asyncio.sleep(0.002)


class Watcher:
    """An observer that remembers."""

    def __init__(self) -> None:
        self.ended: list[Record] = []
        self.gaps: list[float | None] = []

    def tokens(self, record: Record, count: int, gap: float | None) -> None:
        self.gaps += [gap] * count

    def finished(self, record: Record) -> None:
        self.ended.append(record)


def test_a_stop_string_frees_the_slot_though_nobody_reads(tiny_model: Path) -> None:
    async def scenario() -> None:
        async with await started(tiny_model) as client:
            create = client.chat.completions.create
            complete = (await create(messages=HELLO, max_tokens=200, seed=3)).choices[0].message.content
            stop = complete[60:63]
            stream = await create(messages=HELLO, max_tokens=900, seed=3, stop=stop, stream=True)
            await anext(stream)
            await idle(client)
            text = "".join([c.choices[0].delta.content or "" async for c in stream])
            assert text == complete[: complete.index(stop)]

    asyncio.run(scenario())


def test_an_unread_answer_is_kept_whole_and_joined(tiny_model: Path) -> None:
    async def scenario() -> None:
        async with await started(tiny_model) as client:
            stream = await client.chat.completions.create(**ENDLESS, logprobs=True, stream=True)
            await anext(stream)
            await idle(client)
            chunks = [chunk.choices[0] async for chunk in stream]
            assert len(chunks) < 10 and len("".join(c.delta.content or "" for c in chunks)) == 900
            assert sum(len(c.logprobs.content) for c in chunks if c.logprobs) == 900

    asyncio.run(scenario())


def test_an_answer_that_nobody_reads_may_not_grow_without_bound(tiny_model: Path) -> None:
    async def scenario() -> None:
        async with await started(tiny_model, max_buffered_bytes=20_000) as client:
            create = client.chat.completions.create
            stream = await create(**ENDLESS, n=4, logprobs=True, top_logprobs=20, stream=True)
            await anext(stream)
            await idle(client)
            with pytest.raises(ChatError, match="20000") as failed:
                async for _ in stream:
                    pass
            assert (failed.value.http_status, failed.value.code) == (503, "reader_too_slow")
            assert (await create(messages=HELLO, max_tokens=5)).usage.completion_tokens <= 5

    asyncio.run(scenario())


@pytest.mark.parametrize("stream", [False, True])
def test_the_deadline_ends_a_request_wherever_it_is(tiny_model: Path, stream: bool) -> None:
    async def scenario() -> None:
        async with await started(tiny_model, slots=1, request_timeout=0.15) as client:

            async def ask() -> None:
                answer = await client.chat.completions.create(**ENDLESS, n=100, stream=stream)
                if stream:
                    async for _ in answer:
                        pass

            results = await asyncio.gather(ask(), ask(), return_exceptions=True)
            assert [(type(e), e.http_status, e.code) for e in results] == [(ChatError, 504, "timeout")] * 2
            await idle(client)

    asyncio.run(scenario())


def test_a_failing_device_fails_its_requests_and_shows(tiny_model: Path) -> None:
    async def scenario() -> None:
        async with await started(tiny_model) as client:
            stream = await client.chat.completions.create(**ENDLESS, stream=True)
            await anext(stream)
            client.transport.session.engine._runner.decode = None  # the next step raises
            with pytest.raises(ChatError) as failed:
                async for _ in stream:
                    pass
            assert (failed.value.http_status, failed.value.code) == (503, "engine_overloaded")
            await asyncio.wait_for(client.transport.session.failed.wait(), 10)
            assert not client.transport.session.ready
            with pytest.raises(ChatError):
                await client.chat.completions.create(**ENDLESS)

    asyncio.run(scenario())


def test_closing_is_no_failure(tiny_model: Path) -> None:
    async def scenario() -> None:
        client = await started(tiny_model)
        await client.close()
        await asyncio.sleep(0)
        assert not client.transport.session.failed.is_set()

    asyncio.run(scenario())


def test_observers_hear_of_every_end_once(tiny_model: Path) -> None:
    async def scenario() -> None:
        async with await started(tiny_model) as client:
            watcher = Watcher()
            client.transport.session.observers.append(watcher)
            create = client.chat.completions.create
            answer = await create(messages=HELLO, max_tokens=7, logit_bias={"3": 100}, n=2, user="ann")
            with pytest.raises(ChatError):
                await create(messages=HELLO, temperature=3)
            stream = await create(**ENDLESS, stream=True)
            await anext(stream)
            await stream.aclose()
            await until(lambda: not client.transport.session.stats.running)
            task = asyncio.ensure_future(create(**ENDLESS))
            await until(lambda: client.transport.session.stats.running)
            task.cancel()
            await asyncio.wait({task})
            assert [r.outcome for r in watcher.ended] == ["completed", "refused", "cancelled", "cancelled"]
            first, refused, *_ = watcher.ended
            assert (first.prompt_tokens, first.completion_tokens) == (answer.usage.prompt_tokens, 14)
            assert first.finish_reasons == ("length", "length") and first.user == "ann" and not first.streamed
            assert first.first_token is not None and 0 < first.first_token <= first.seconds
            assert watcher.gaps[:14].count(None) == 2
            assert refused.error == "invalid_request_error" and refused.first_token is None
            assert watcher.ended[2].streamed and answer.choices[0].finish_reason == "length"

    asyncio.run(scenario())
