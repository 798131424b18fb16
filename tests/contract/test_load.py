"""Full queues, slow readers, deadlines and failures: what each client sees, and what is freed."""

from __future__ import annotations

import json
import socket
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.contract.doors import NAMES, Door
from tests.contract.echo import LOST, PAUSE
from tests.contract.loading import LONG, chat_request, message_fields, send_post, small_place
from tests.contract.place import PATIENCE, Place


@pytest.mark.parametrize("name", NAMES)
def test_a_full_queue_is_a_429_that_says_when_to_come_again(name: str) -> None:
    with small_place() as (place, runner), ThreadPoolExecutor(2) as pool:
        first = pool.submit(place.door("client").ask, **message_fields(f"ab{PAUSE}"))
        assert runner.held.wait(PATIENCE)
        second = pool.submit(place.door("openai").ask, **message_fields("second"))
        place.wait_for_load(waiting=1, running=1)
        refusal = place.door(name).refused(**message_fields("third"))
        assert (refusal.status, refusal.type, refusal.code) == (429, "requests", "rate_limit_exceeded")
        assert refusal.param is None and refusal.retry_after and refusal.retry_after > 0
        runner.gate.set()
        assert (first.result(PATIENCE).text, second.result(PATIENCE).text) == (f"ab{PAUSE}", "second")
        place.wait_until_idle()
        assert place.door(name).ask(**message_fields("later")).text == "later"
        place.wait_until_idle()


def test_the_queue_is_first_come_first_served_and_choices_wait_in_it() -> None:
    with small_place(queue=3) as (place, runner), ThreadPoolExecutor(4) as pool:
        calls = [pool.submit(place.door("stub").ask, **message_fields(f"0{PAUSE}"))]
        assert runner.held.wait(PATIENCE)
        for waiting in (1, 2, 3):
            calls.append(pool.submit(place.door("stub").ask, **message_fields(str(waiting))))
            place.wait_for_load(waiting=waiting, running=1)
        assert place.door("openai").refused(**message_fields("x"), n=2).status == 429
        runner.gate.set()
        assert [call.result(PATIENCE).text for call in calls] == [f"0{PAUSE}", "1", "2", "3"]
        assert [prompt.split("\n")[1][0] for prompt in runner.prompts] == ["0", "1", "2", "3"]


@pytest.mark.parametrize("how", ["rest stream", "stub stream"])
def test_a_slow_reader_stalls_nobody_and_loses_nothing(echo_place: Place, how: str) -> None:
    if how == "rest stream":
        body = json.dumps(
            {"model": "echo", **message_fields(LONG), "stream": True, "logprobs": True, "top_logprobs": 20}
        )
        slow = send_post(echo_place, body)
    else:
        slow = echo_place.stub.Stream(chat_request(LONG))
    for name in ("openai stream", "client stream"):
        assert echo_place.door(name).ask(**message_fields("quick")).text == "quick"
    echo_place.wait_for_load(waiting=0, running=0)
    if isinstance(slow, socket.socket):
        slow.settimeout(PATIENCE)
        received = b""
        while b"[DONE]" not in received:
            received += slow.recv(1 << 16)
        found = [line for line in received.decode().splitlines() if line.startswith("data: {")]
        chunks = [json.loads(line[6:])["choices"][0]["delta"] for line in found]
        slow.close()
        assert "".join(chunk.get("content", "") for chunk in chunks) == LONG
    else:
        assert "".join(chunk.choices[0].delta.content for chunk in slow) == LONG
    echo_place.wait_until_idle()


@pytest.mark.parametrize("name", NAMES)
def test_the_servers_own_deadline_is_a_504(name: str) -> None:
    with small_place(request_timeout=0.2) as (place, runner):
        refusal = place.door(name).refused(**message_fields(f"ab{PAUSE}{LONG}"))
        assert (refusal.status, refusal.type, refusal.code) == (504, "server_error", "timeout")
        runner.gate.set()
        place.wait_until_idle()


def test_a_draining_server_refuses_and_finishes() -> None:
    with small_place(slots=2) as (place, runner), ThreadPoolExecutor(2) as pool:
        running = pool.submit(place.door("openai stream").ask, **message_fields(f"ab{PAUSE}c"))
        assert runner.held.wait(PATIENCE)
        drained = pool.submit(place.in_process.transport.run, place.session.drain(PATIENCE))
        place.wait_until(lambda: not place.session.ready)
        for name in NAMES:
            _assert_unavailable(place.door(name), "draining")
        assert place.http.get("/health").status_code == 503
        runner.gate.set()
        assert running.result(PATIENCE).text == f"ab{PAUSE}c"
        drained.result(PATIENCE)


def test_a_lost_device_is_a_503_for_all() -> None:
    with small_place(slots=2) as (place, _):
        assert place.door("stub").refused(**message_fields(LOST)).status == 503
        for name in NAMES:
            _assert_unavailable(place.door(name), "engine_overloaded")
        assert place.http.get("/health").status_code == 503


def _assert_unavailable(door: Door, code: str) -> None:
    refusal = door.refused(**message_fields("x"))
    assert (refusal.status, refusal.type, refusal.code) == (503, "server_error", code)
    assert refusal.param is None and refusal.retry_after and refusal.retry_after > 0
