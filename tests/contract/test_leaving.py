"""Readers that go away, whenever they do: the place of their request is free before the next step."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest

from tests.contract.echo import CHUNK, PAUSE
from tests.contract.loading import (
    LONG,
    AbandonedRequest,
    chat_request,
    message_fields,
    small_place,
    wait_until_forgotten,
)
from tests.contract.place import PATIENCE

HOW = ("rest", "rest stream", "stub", "stub stream")


@pytest.mark.parametrize("how", HOW)
def test_who_leaves_while_decoding_frees_the_slot_before_the_next_step(how: str) -> None:
    with small_place() as (place, runner):
        caller = AbandonedRequest(place, how, f"ab{PAUSE}{LONG}")
        assert runner.held.wait(PATIENCE)
        place.wait_for_load(waiting=0, running=1)
        steps = runner.steps
        caller.disconnect()
        wait_until_forgotten(place)
        runner.gate.set()
        place.wait_until_idle()
        assert runner.steps <= steps + 1


@pytest.mark.parametrize("how", HOW)
def test_who_leaves_during_prefill_frees_the_slot(how: str) -> None:
    with small_place() as (place, runner):
        runner.gate.clear()
        caller = AbandonedRequest(place, how, "y" * (20 * CHUNK))
        assert runner.held.wait(PATIENCE)
        caller.disconnect()
        wait_until_forgotten(place)
        runner.gate.set()
        place.wait_until_idle()
        assert runner.steps < 10 and not runner.prompts, "the prompt was never finished"


@pytest.mark.parametrize("how", HOW)
def test_who_leaves_the_queue_is_never_computed(how: str) -> None:
    with small_place() as (place, runner), ThreadPoolExecutor(1) as pool:
        running = pool.submit(place.door("client").ask, **message_fields(f"ab{PAUSE}c"))
        assert runner.held.wait(PATIENCE)
        caller = AbandonedRequest(place, how, "queued")
        place.wait_for_load(waiting=1, running=1)
        caller.disconnect()
        wait_until_forgotten(place, others=1)
        runner.gate.set()
        assert running.result(PATIENCE).text == f"ab{PAUSE}c"
        place.wait_until_idle()
        assert len(runner.prompts) == 1


@pytest.mark.parametrize("stream", [False, True])
def test_a_grpc_deadline_frees_the_slot(stream: bool) -> None:
    with small_place() as (place, runner):
        with pytest.raises(grpc.RpcError) as late:
            call = place.stub.Stream if stream else place.stub.Complete
            list(call(chat_request(f"ab{PAUSE}{LONG}"), timeout=0.3))
        assert late.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        wait_until_forgotten(place)
        steps = runner.steps
        runner.gate.set()
        place.wait_until_idle()
        assert runner.steps <= steps + 1
