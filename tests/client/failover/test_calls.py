"""Calls over several replicas, blocking and with asyncio: what is tried again, where, how often, and how it ends."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from jaxchat import errors, v1
from jaxchat.client import AsyncClient, Client
from jaxchat.client.failover import FailoverPolicy, Whole
from jaxchat.errors import ChatError
from tests.client.failover.scripted import FULL, TEXT, Lost, Scripted, serving, unused_target

ASKED: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
FAST = FailoverPolicy(first_pause=0.01, longest_pause=0.02)
PATIENCE = 20
Ask = Callable[..., str]


def ask_blocking(targets: Any, stream: bool, **fields: Any) -> str:
    with Client(targets) as client:
        client.transport._calls.policy = FAST
        answer = client.chat.completions.create(**ASKED | fields, stream=stream)
        if not stream:
            return answer.choices[0].message.content
        return "".join(chunk.choices[0].delta.content or "" for chunk in answer)


def ask_asyncio(targets: Any, stream: bool, **fields: Any) -> str:
    async def run() -> str:
        async with AsyncClient(targets) as client:
            client.transport._calls.policy = FAST
            answer = await client.chat.completions.create(**ASKED | fields, stream=stream)
            if not stream:
                return answer.choices[0].message.content
            return "".join([chunk.choices[0].delta.content or "" async for chunk in answer])

    return asyncio.run(run())


@pytest.fixture(params=[ask_blocking, ask_asyncio], ids=["blocking", "asyncio"])
def ask(request: pytest.FixtureRequest) -> Ask:
    return request.param


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    "error",
    [Lost(), errors.engine_stopped(), errors.draining(), errors.not_ready(), FULL],
    ids=lambda error: str(error),
)
def test_another_replica_answers(ask: Ask, stream: bool, error: Exception) -> None:
    first, second = Scripted(error), Scripted()
    with serving(first, second) as targets:
        assert ask(targets, stream) == TEXT
    assert len(first.requests) == len(second.requests) == 1
    assert first.requests[0].seed == second.requests[0].seed and first.requests[0].HasField("seed")


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    "error",
    [
        errors.invalid("top_p", "must be from 0 to 1, got 3."),
        errors.model_not_found("m"),
        errors.invalid_api_key(),
        errors.internal(),
        errors.numerical_error(),
        errors.timeout(),
        errors.reader_too_slow(5),
    ],
    ids=lambda error: str(error.code),
)
def test_what_every_replica_would_say_is_said_at_once(ask: Ask, stream: bool, error: ChatError) -> None:
    first, second = Scripted(error), Scripted()
    with serving(first, second) as targets, pytest.raises(ChatError) as caught:
        ask(targets, stream)
    assert (caught.value.code, caught.value.message) == (error.code, error.message)
    assert len(first.requests) == 1 and not second.requests


@pytest.mark.parametrize("stream", [False, True])
def test_a_request_that_no_replica_took_fails_after_one_round(ask: Ask, stream: bool) -> None:
    both = Scripted(forever=FULL), Scripted(forever=FULL)
    with serving(*both) as targets, pytest.raises(ChatError) as caught:
        ask(targets, stream)
    assert (caught.value.http_status, caught.value.retry_after) == (429, 0.5)
    assert [len(replica.requests) for replica in both] == [1, 1]
    with pytest.raises(ChatError, match="None of the 2 replicas can be reached") as caught:
        ask([unused_target(), unused_target()], stream)
    assert (caught.value.http_status, caught.value.code) == (503, "engine_overloaded")


def test_what_servers_reject_by_themselves_has_not_begun(ask: Ask) -> None:
    both = [Scripted(forever=errors.overloaded("Too many schemas are being compiled.")) for _ in range(2)]
    with serving(*both) as targets, pytest.raises(ChatError, match="None of the 2 replicas can be reached, or takes"):
        ask(targets, False)
    assert [len(replica.requests) for replica in both] == [1, 1]


@pytest.mark.parametrize("chunks", range(1, 8))
def test_a_stream_goes_on_where_it_was_cut_off(ask: Ask, chunks: int) -> None:
    first, second = Scripted(Lost(chunks)), Scripted()
    with serving(first, second) as targets:
        assert ask(targets, True) == TEXT
    (draft,) = [list(draft.token_ids) for draft in second.requests[0].draft_tokens] or [[]]
    assert draft == list(range(chunks - 1))


def test_a_stream_that_began_waits_for_a_replica(ask: Ask) -> None:
    first, second = Scripted(Lost(3), Lost(), errors.not_ready(), Lost()), Scripted(FULL, FULL, Lost(5), FULL, FULL)
    with serving(first, second) as targets:
        assert ask(targets, True) == TEXT
    assert len(first.requests) > 2 and len(second.requests) > 2


@pytest.mark.parametrize("stream", [False, True])
def test_the_number_of_attempts_is_bounded(ask: Ask, stream: bool) -> None:
    both = Scripted(Lost(3), forever=Lost()), Scripted(forever=Lost())
    with serving(*both) as targets, pytest.raises(ChatError, match="none of the 2 replicas can go on") as caught:
        ask(targets, stream)
    assert (caught.value.http_status, caught.value.code) == (503, "cut_off")
    asked = [len(replica.requests) for replica in both]
    assert FAST.rounds <= max(asked) <= FAST.rounds + 1 and sum(asked) <= 2 * FAST.rounds + 1


def test_one_replica_is_asked_once(ask: Ask) -> None:
    alone = Scripted(Lost(3))
    with serving(alone) as targets, pytest.raises(ChatError, match="Socket closed"):
        ask(targets, True)
    assert len(alone.requests) == 1
    assert not alone.requests[0].HasField("seed") and not alone.requests[0].return_token_ids


def test_a_replica_with_another_fingerprint_does_not_continue(ask: Ask) -> None:
    first, other = Scripted(Lost(3), forever=Lost()), Scripted(fingerprint="fp_2")
    with serving(first, other) as targets, pytest.raises(ChatError) as caught:
        ask(targets, True)
    says = f"it began with system_fingerprint fp_1, and replica {other.target} has fp_2."
    assert caught.value.code == "cut_off" and caught.value.message.endswith(says)
    assert len(other.requests) == 1
    first, third = Scripted(Lost(3), forever=Lost()), Scripted()
    with serving(first, Scripted(fingerprint="fp_2"), third) as targets:
        assert ask(targets, True) == TEXT and len(third.requests) == 1
        assert ask(targets, True) == TEXT, "new requests may go to any"


def test_the_deadline_is_that_of_all_attempts(ask: Ask) -> None:
    slow = Scripted(Lost(4), forever=Lost())
    slow.hold.clear()
    began = time.monotonic()
    with serving(slow, Scripted(forever=Lost())) as targets, pytest.raises(ChatError) as caught:
        ask(targets, True, timeout=0.5)
    assert caught.value.http_status == 504 and 0.4 < time.monotonic() - began < PATIENCE


def test_open_calls_are_spread_and_a_failed_replica_comes_last() -> None:
    replicas = [Scripted() for _ in range(3)]
    for replica in replicas:
        replica.hold.clear()
    with serving(*replicas) as targets, Client(targets) as client:
        streams = [client.chat.completions.create(**ASKED, stream=True) for _ in range(9)]
        assert [len(replica.requests) for replica in replicas] == [3, 3, 3]
        for stream in streams[:6:3]:
            stream.close()  # those of one replica
        more = [client.chat.completions.create(**ASKED, stream=True) for _ in range(2)]
        assert Counter(len(replica.requests) for replica in replicas) == {5: 1, 3: 2}
        for stream in streams + more:
            stream.close()
        replicas[0].forever = Lost()
        for replica in replicas:
            replica.hold.set()
            replica.requests.clear()
        for _ in range(12):
            assert client.chat.completions.create(**ASKED).choices[0].message.content == TEXT
        assert len(replicas[0].requests) == 1 and len(replicas[1].requests) > 3 < len(replicas[2].requests)


def test_an_answer_that_cannot_be_cut_goes_on_only_before_its_first_chunk() -> None:
    asked = v1.ChatCompletionRequest(model="m")
    with serving(Scripted(Lost()), Scripted()) as targets, Client(targets) as client:
        stream = client.transport._calls.stream("Stream", Whole(asked))
        assert len(list(iter(stream.__next__, None))) == len(TEXT) + 2
    second = Scripted()
    with serving(Scripted(Lost(3)), second) as targets, Client(targets) as client:
        stream = client.transport._calls.stream("Stream", Whole(asked))
        with pytest.raises(ChatError, match="cannot go on at another replica") as caught:
            list(iter(stream.__next__, None))
        assert caught.value.code == "cut_off" and not second.requests


def test_closing_a_stream_cancels_its_call_and_ends_its_pauses() -> None:
    waiting, lost = Scripted(), Scripted(Lost(3), forever=Lost())
    waiting.hold.clear()
    with serving(waiting) as targets, Client([*targets, unused_target()]) as client:
        client.chat.completions.create(**ASKED, stream=True).close()
        _until(lambda: not waiting.open)
    with serving(lost) as targets, Client([*targets, unused_target()]) as client:
        client.transport._calls.policy = FailoverPolicy(first_pause=PATIENCE, longest_pause=PATIENCE)
        stream = client.chat.completions.create(**ASKED, stream=True)
        reader = threading.Thread(target=lambda: list(stream))
        reader.start()
        _until(lambda: len(lost.requests) == 1 and not lost.open)
        stream.close()
        reader.join(PATIENCE / 2)
        assert not reader.is_alive()


def test_a_stream_may_be_closed_before_it_has_a_call(monkeypatch: pytest.MonkeyPatch) -> None:
    waiting = Scripted()
    waiting.hold.clear()
    with serving(waiting) as targets, Client([*targets, unused_target()]) as client:
        stream = client.transport._calls.stream("Stream", Whole(v1.ChatCompletionRequest(model="m")))

        def refresh(**_: bool) -> None:  # as long as DNS takes
            closing = threading.Thread(target=stream.close)
            closing.start()
            closing.join(PATIENCE)

        monkeypatch.setattr(client.transport._calls, "refresh", refresh)
        with pytest.raises(ChatError):
            next(iter(stream.__next__, None))
        _until(lambda: not waiting.open)


async def test_cancelling_a_task_cancels_its_call() -> None:
    waiting = Scripted()
    waiting.hold.clear()
    with serving(waiting, Scripted(forever=Lost())) as targets:
        async with AsyncClient(targets) as client:

            async def read() -> None:
                async for _ in await client.chat.completions.create(**ASKED, stream=True):
                    pass

            task = asyncio.create_task(read())
            while not waiting.open:
                await asyncio.sleep(0.01)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            _until(lambda: not waiting.open)
            assert [replica.open for replica in client.transport._replicas.all] == [0, 0]


@pytest.mark.parametrize("targets", ["", " , ", []])
def test_a_client_needs_a_target(targets: Any) -> None:
    with pytest.raises(ValueError, match="expected a target such as host:port"):
        Client(targets)


def test_models_are_those_that_all_replicas_have() -> None:
    first, second = Scripted(), Scripted()
    first.models, second.models = ["a", "b", "c"], ["c", "b"]
    with serving(first, second) as targets:
        with Client([*targets, unused_target()]) as client:
            assert [model.id for model in client.models.list()] == ["b", "c"]
        with (
            pytest.raises(ChatError, match="None of the 2") as caught,
            Client([unused_target(), unused_target()]) as client,
        ):
            client.models.list()
        assert caught.value.http_status == 503


def test_a_name_stands_for_all_its_addresses(ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    hosts = ("127.0.0.1", "127.0.0.2")

    def addresses(host: str, port: str, **_: Any) -> list[Any]:
        assert host == "replicas.test"
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (ip, int(port))) for ip in hosts]

    monkeypatch.setattr(socket, "getaddrinfo", addresses)
    first, second = Scripted(Lost(3)), Scripted()
    with serving(first, second, hosts=hosts) as targets:
        port = targets[0].rpartition(":")[2]
        assert ask(f"dns:///replicas.test:{port}", True) == TEXT
    assert len(first.requests) == len(second.requests) == 1


def _until(reached: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE
    while not reached():
        assert time.monotonic() < end
        time.sleep(0.01)
