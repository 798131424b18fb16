"""Whole requests on a real engine with a tiny random model."""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

import jaxchat
from jaxchat.chat.context import Record
from jaxchat.client import Client

HELLO = [{"role": "user", "content": "Hello"}]


def create(client: Client, **kwargs):
    return client.chat.completions.create(**{"messages": HELLO, "max_tokens": 24, "seed": 1, **kwargs})


def idle(client: Client, seconds: float = 5.0) -> bool:
    """Whether slots, pages and queue return to zero in time."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        stats = client.transport.session.stats
        if (stats.waiting, stats.running, stats.pages_in_use) == (0, 0, 0):
            return True
        time.sleep(0.005)
    return False


def joined(chunks, index: int = 0) -> str:
    return "".join(c.choices[0].delta.content or "" for c in chunks if c.choices and c.choices[0].index == index)


def test_an_answer_has_all_its_parts(tiny_client: Client) -> None:
    answer = create(tiny_client, n=2, logprobs=True, top_logprobs=3)
    assert answer.id.startswith("chatcmpl-") and abs(answer.created - time.time()) < 60
    assert answer.model == "tiny" and answer.system_fingerprint.startswith("fp_") and answer.seed_used == 1
    assert [choice.index for choice in answer.choices] == [0, 1]
    assert answer.choices[0].message.content != answer.choices[1].message.content
    prompt = len("<s>user\nHello<e>\n<s>assistant\n") - 6  # one token a byte, "he" is not in "Hello"
    assert answer.usage.prompt_tokens == prompt
    assert answer.usage.total_tokens == prompt + answer.usage.completion_tokens
    for choice in answer.choices:
        assert all(len(entry.top_logprobs) == 3 for entry in choice.logprobs.content)
        spelled = b"".join(entry.bytes for entry in choice.logprobs.content)
        assert spelled.decode("utf-8", "replace") == choice.message.content


def test_the_stream_is_the_plain_answer_in_pieces(tiny_client: Client) -> None:
    plain = create(tiny_client, n=3, logprobs=True)
    chunks = list(create(tiny_client, n=3, logprobs=True, stream=True, stream_options={"include_usage": True}))
    roles = [c.choices[0] for c in chunks[:3]]
    assert [(r.index, r.delta.role, r.delta.content) for r in roles] == [(i, "assistant", "") for i in range(3)]
    for choice in plain.choices:
        own = [c.choices[0] for c in chunks if c.choices and c.choices[0].index == choice.index]
        assert joined(chunks, choice.index) == choice.message.content
        assert [e for c in own if c.logprobs for e in c.logprobs.content] == list(choice.logprobs.content)
        assert [c.finish_reason for c in own if c.finish_reason] == [choice.finish_reason]
        assert own[-1].finish_reason
    assert not chunks[-1].choices and chunks[-1].usage == plain.usage
    assert len({(c.id, c.created, c.model, c.system_fingerprint) for c in chunks}) == 1


def test_a_seeded_answer_is_the_same_alone_and_under_load(tiny_client: Client) -> None:
    cases = [
        dict(seed=seed, max_tokens=5 + 7 * seed, temperature=(seed % 3) / 1.5, top_p=1 - 0.1 * (seed % 4))
        | dict(messages=[{"role": "user", "content": "x" * (11 * seed)}], n=1 + seed % 2, logprobs=bool(seed % 2))
        | dict(presence_penalty=(seed % 5) / 2.0, logit_bias={"65": -100} if seed % 3 else {})
        for seed in range(20)
    ]
    alone = [create(tiny_client, **case).choices for case in cases]
    with ThreadPoolExecutor(20) as pool:
        loaded = list(pool.map(lambda case: create(tiny_client, **case).choices, cases))
    assert alone == loaded
    assert idle(tiny_client)


def test_thirty_two_streams_of_different_lengths_compile_nothing(tiny_client: Client) -> None:
    runner = tiny_client.transport.session.engine._runner

    def stream(index: int) -> int:
        return len(list(create(tiny_client, seed=index, max_tokens=1 + index, n=1 + index % 3, stream=True)))

    with ThreadPoolExecutor(32) as pool:
        assert all(pool.map(stream, range(32)))
    assert idle(tiny_client)
    assert runner.compiles_after_ready == 0


def test_a_longer_limit_only_continues_the_answer(tiny_client: Client) -> None:
    short, long = (create(tiny_client, max_tokens=n, seed=9).choices[0].message.content for n in (10, 40))
    assert long.startswith(short.rstrip("\ufffd"))


def test_stop_strings_end_the_answer_before_them(tiny_client: Client) -> None:
    complete = create(tiny_client, seed=3, max_tokens=40).choices[0].message.content
    stop = complete[10:12]
    for stream in (False, True):
        answer = create(tiny_client, seed=3, max_tokens=40, stop=[stop], stream=stream)
        text = joined(answer) if stream else answer.choices[0].message.content
        assert text == complete[: complete.find(stop)]
    assert create(tiny_client, seed=3, max_tokens=40, stop=stop).choices[0].finish_reason == "stop"
    assert idle(tiny_client)


def test_bias_of_100_forces_a_token_until_the_limit(tiny_client: Client) -> None:
    answer = create(tiny_client, logit_bias={"3": 100}, max_tokens=9)
    assert len(set(answer.choices[0].message.content)) == 1 and len(answer.choices[0].message.content) == 9
    assert answer.choices[0].finish_reason == "length" and answer.usage.completion_tokens == 9


def test_the_context_bounds_prompt_and_answer(tiny_client: Client) -> None:
    with pytest.raises(jaxchat.ChatError, match="1024") as refused:
        create(tiny_client, max_tokens=1020)
    assert (refused.value.param, refused.value.code) == ("messages", "context_length_exceeded")
    with pytest.raises(jaxchat.ChatError):
        create(tiny_client, messages=[{"role": "user", "content": "x" * 2000}])
    with pytest.raises(jaxchat.ChatError, match="more than") as refused:
        create(tiny_client, messages=[{"role": "user", "content": "x" * 50_000}] * 20)
    assert (refused.value.param, refused.value.code) == ("messages", "context_length_exceeded")
    full = create(tiny_client, max_tokens=None, logit_bias={"3": 100})
    assert full.usage.total_tokens == 1024


def test_closing_a_stream_frees_its_slot(tiny_client: Client) -> None:
    stream = create(tiny_client, max_tokens=900, logit_bias={"3": 100}, n=4, stream=True)
    for _ in range(9):
        next(stream)
    stream.close()
    steps = tiny_client.transport.session.stats.steps
    assert idle(tiny_client)
    assert tiny_client.transport.session.stats.steps - steps < 50  # far from the 900 that were asked for


def test_a_closed_client_refuses_calls_and_ends_its_streams(tiny_model) -> None:
    with jaxchat.load(str(tiny_model), slots=1, prefill_chunk=32) as client:
        stream = create(client, max_tokens=900, logit_bias={"3": 100}, stream=True)
        next(stream)
    for call in (lambda: create(client), lambda: list(stream)):
        with pytest.raises(jaxchat.ChatError) as refused:
            call()
        assert refused.value.code == "draining"


def test_a_cancelled_call_frees_its_slot_whether_queued_or_running(tiny_model) -> None:
    async def scenario() -> None:
        async with await jaxchat.load_async(str(tiny_model), slots=1, prefill_chunk=32) as client:

            def call(**kwargs):
                kwargs = {"messages": HELLO, "max_tokens": 900, "logit_bias": {"3": 100}, **kwargs}
                return asyncio.ensure_future(client.chat.completions.create(**kwargs))

            running, queued = call(), call()
            while not (client.transport.session.stats.running and client.transport.session.stats.waiting):
                await asyncio.sleep(0.001)
            queued.cancel()
            running.cancel()
            after = await call(max_tokens=3)
            assert after.usage.completion_tokens == 3
            stats = client.transport.session.stats
            assert (stats.waiting, stats.running, stats.pages_in_use) == (0, 0, 0)
            assert stats.steps < 850

    asyncio.run(scenario())


def test_draining_finishes_what_runs_and_refuses_what_comes(tiny_model) -> None:
    async def scenario() -> None:
        async with await jaxchat.load_async(str(tiny_model), slots=4, prefill_chunk=32) as client:
            create = client.chat.completions.create
            running = asyncio.ensure_future(create(messages=HELLO, max_tokens=100, logit_bias={"3": 100}))
            await asyncio.sleep(0.01)
            drained = asyncio.ensure_future(client.transport.session.drain(30))
            await asyncio.sleep(0)
            with pytest.raises(jaxchat.ChatError) as refused:
                await create(messages=HELLO)
            assert (refused.value.http_status, refused.value.code) == (503, "draining")
            assert (await running).usage.completion_tokens == 100
            await drained

    asyncio.run(scenario())


def test_a_restarted_engine_gives_the_same_answer_and_fingerprint(tiny_model, tiny_client: Client) -> None:
    with jaxchat.load(str(tiny_model), slots=4, prefill_chunk=32) as again:
        first, second = create(tiny_client, seed=5), create(again, seed=5)
    assert first.system_fingerprint == second.system_fingerprint
    assert first.choices == second.choices


def test_messages_of_every_kind_reach_the_template(tiny_client: Client) -> None:
    answer = create(
        tiny_client,
        messages=[
            {"role": "developer", "content": "Be brief."},
            {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}], "name": "Ann"},
            {"role": "assistant", "content": "ok"},
            {"role": "user", "content": "<|im_end|>\x00é"},
        ],
    )
    rendered = "system\nBe brief.\nuser\nAnn: ab\nassistant\nok\nuser\n<|im_end|>\x00é\nassistant\n"
    assert answer.usage.prompt_tokens == len(rendered.encode()) + 9 - rendered.count("he")


def test_a_record_has_the_phases_of_its_request_in_order(tiny_client: Client) -> None:
    class Recorder:
        def __init__(self) -> None:
            self.records: list[Record] = []

        def tokens(self, record: Record, count: int, gap: float | None) -> None: ...

        def finished(self, record: Record) -> None:
            self.records.append(record)

    session, recorder = tiny_client.transport.session, Recorder()
    session.observers.append(recorder)
    try:
        create(tiny_client, n=2)
        with pytest.raises(jaxchat.ChatError):
            create(tiny_client, temperature=9)
    finally:
        session.observers.remove(recorder)
    answered, refused = recorder.records
    times = (0.0, answered.queued, answered.admitted, answered.first_token, answered.last_token, answered.seconds)
    assert list(times) == sorted(times) and answered.last_token > answered.first_token
    assert (refused.queued, refused.admitted, refused.last_token) == (None, None, None)
