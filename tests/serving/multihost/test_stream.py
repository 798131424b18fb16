"""The stream between leader and followers, without devices: admission, steps, detection of losses."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

from jaxchat.errors import MultihostError
from jaxchat.types import (
    DecodeWork,
    MultihostStep,
    PrefillSlice,
    PrefillWork,
    SamplingParams,
    SwapInWork,
    SwapOutWork,
    Swapped,
    Work,
)
from serving.config import MultihostConfig
from serving.multihost.codec import decode, encode
from serving.multihost.follower import Follower
from serving.multihost.leader import Leader
from tests.ports import free_port

FACTS = {"jaxchat": "1", "slots": "4"}
PATIENCE = 20


class Members:
    """A leader and followers in this process. `losses` has the loss that each process detected, by process id."""

    def __init__(self, processes: int, timeout: float = PATIENCE, **settings: Any) -> None:
        self._settings = dict(
            processes=processes, coordinator=f"127.0.0.1:{free_port()}", multihost_timeout=timeout, **settings
        )
        self.losses: dict[int, str] = {}
        self._changed = threading.Condition()
        self.leader = Leader(MultihostConfig(**self._settings), FACTS, lambda reason: self._lost(0, reason))
        self.followers: list[Follower] = []
        self._pool = ThreadPoolExecutor(8)

    def follower(self, process_id: int, facts: dict[str, str] = FACTS, **changes: Any) -> Follower:
        config = MultihostConfig(**self._settings | {"process_id": process_id} | changes)
        self.followers.append(Follower(config, facts, lambda reason: self._lost(process_id, reason)))
        return self.followers[-1]

    def concurrently(self, *calls: Any) -> list[Future[Any]]:
        return [self._pool.submit(call) for call in calls]

    def gathered(self) -> None:
        followers = [self.follower(index) for index in range(1, self.leader.processes)]
        for done in self.concurrently(self.leader.gather, *(follower.join for follower in followers)):
            done.result(PATIENCE)

    def until_lost(self, process_id: int) -> str:
        with self._changed:
            assert self._changed.wait_for(lambda: process_id in self.losses, PATIENCE)
        return self.losses[process_id]

    def close(self) -> None:
        for member in (self.leader, *self.followers):
            member.close()
        self._pool.shutdown()

    def _lost(self, process_id: int, reason: str) -> None:
        with self._changed:
            assert process_id not in self.losses
            self.losses[process_id] = reason
            self._changed.notify_all()


@contextmanager
def members(processes: int, timeout: float = PATIENCE, **settings: Any) -> Iterator[Members]:
    group = Members(processes, timeout, **settings)
    try:
        yield group
    finally:
        group.close()


def equal(a: Any, b: Any) -> bool:
    if isinstance(a, np.ndarray):
        return isinstance(b, np.ndarray) and a.dtype == b.dtype and np.array_equal(a, b)
    if isinstance(a, tuple):
        return isinstance(b, tuple) and len(a) == len(b) and all(map(equal, a, b))
    if hasattr(a, "__dataclass_fields__"):
        return type(a) is type(b) and all(equal(getattr(a, name), getattr(b, name)) for name in a.__dataclass_fields__)
    return bool(a == b)


PAGES = np.array([3, 1, 2], np.int32)
SAMPLING = SamplingParams(
    temperature=0.1, top_p=0.3, frequency_penalty=-2, presence_penalty=1.7, seed=2**64 - 1, logprobs=True,
    logit_bias=((7, -100.0), (2, 0.1)), top_k=40, min_p=0.05, repetition_penalty=1.1,
)  # fmt: skip
TOKEN_MASK = np.array([[1, 2**32 - 1], [0, 5]], np.uint32)
CHUNK = PrefillSlice(3, np.arange(5, dtype=np.int32), 64, True, PAGES, 2, SAMPLING, TOKEN_MASK[0], PAGES[1:])
WORKS: list[Work] = [
    PrefillWork((CHUNK,)),
    PrefillWork((CHUNK, PrefillSlice(0, np.zeros(0, np.int32), 0, False, PAGES[:0], 0, SamplingParams()))),
    DecodeWork(np.array([1, 0], np.int32), np.array([-1, 9], np.int32)),
    DecodeWork(np.array([1, 0], np.int32), np.array([-1, 9], np.int32), np.array([True, False]), TOKEN_MASK),
    DecodeWork(np.array([1, 1], np.int32), np.array([-1, 9], np.int32), drafts=np.array([-1, 7], np.int32)),
    SwapOutWork(1, PAGES),
    SwapInWork(1, PAGES, 2, Swapped(None, ())),
]


@pytest.mark.parametrize("work", WORKS, ids=lambda work: type(work).__name__)
def test_every_step_arrives_as_it_was(work: Work) -> None:
    step = MultihostStep(work, 7, (1, 2**63))
    assert equal(decode(encode(step)), step)


def test_every_sampling_parameter_is_in_those_steps() -> None:
    defaults = SamplingParams()
    assert all(getattr(SAMPLING, name) != value for name, value in vars(defaults).items())


def test_followers_get_all_steps_in_order() -> None:
    with members(3) as group:
        group.gathered()
        agreed = group.concurrently(*(lambda m=m: m.agree({"weights": "x"}) for m in (group.leader, *group.followers)))
        for done in agreed:
            done.result(PATIENCE)
        for number, work in enumerate(WORKS):
            group.leader.send(MultihostStep(work, number))
        group.leader.end()
        for follower in group.followers:
            steps = list(follower.steps())
            assert [step.saved for step in steps] == list(range(len(WORKS)))
            assert all(equal(step.work, work) for step, work in zip(steps, WORKS, strict=True))
    assert not group.losses


@pytest.mark.parametrize(
    ("changes", "facts", "reason"),
    [
        (dict(processes=4), FACTS, "process 1: --processes is 4, but the leader's is 3"),
        ({}, FACTS | {"slots": "8"}, "process 1 differs: slots is 8, the leader's is 4"),
        ({}, {"jaxchat": "1"}, "process 1 differs: slots is missing, the leader's is 4"),
    ],
)
def test_a_follower_that_differs_is_rejected_and_may_join_again(
    changes: dict[str, Any], facts: dict[str, str], reason: str
) -> None:
    with members(3) as group:
        with pytest.raises(MultihostError, match=reason):
            group.follower(1, facts, **changes).join()
        group.gathered()


def test_a_process_id_is_taken_once() -> None:
    with members(3) as group:
        (joined,) = group.concurrently(group.follower(1).join)
        with group.leader._changed:
            assert group.leader._changed.wait_for(lambda: group.leader._followers, PATIENCE)
        with pytest.raises(MultihostError, match="process 1: another process has joined with the same --process-id"):
            group.follower(1).join()
        for done in (*group.concurrently(group.leader.gather, group.follower(2).join), joined):
            done.result(PATIENCE)


def test_late_followers_are_named() -> None:
    with members(4, timeout=3.0) as group:
        group.concurrently(group.follower(2).join)
        with pytest.raises(MultihostError, match="of 4 processes, 1, 3 did not join within 3 s"):
            group.leader.gather()


def test_without_a_leader_a_follower_gives_up() -> None:
    config = MultihostConfig(processes=2, process_id=1, coordinator=f"127.0.0.1:{free_port()}", multihost_timeout=1.0)
    with pytest.raises(MultihostError, match=r"not all processes joined 127\.0\.0\.1:.* within 1 s"):
        Follower(config, FACTS, lambda reason: None).join()


def test_different_programs_are_rejected_everywhere() -> None:
    with members(3) as group:
        group.gathered()
        first, second = group.followers
        work = (
            lambda: group.leader.agree({"weights": "w", "prefill": "p"}),
            lambda: first.agree({"weights": "w", "prefill": "p"}),
            lambda: second.agree({"weights": "w", "prefill": "other"}),
        )
        for done in group.concurrently(*work):
            with pytest.raises(MultihostError, match="process 2 differs: prefill is other, the leader's is p"):
                done.result(PATIENCE)


def test_a_lost_follower_is_named() -> None:
    with members(3) as group:
        group.gathered()
        group.followers[1].close()
        assert group.until_lost(0) == "process 2 is gone"
        with pytest.raises(MultihostError, match="process 2 is gone"):
            group.leader.agree({})


def test_a_lost_leader_is_noticed() -> None:
    with members(2) as group:
        group.gathered()
        group.leader.close()
        assert "is gone" in group.until_lost(1)
        with pytest.raises(MultihostError, match="is gone"):
            list(group.followers[0].steps())


def test_a_stuck_step_counts_as_a_loss() -> None:
    with members(2, step_timeout=1.0) as group:
        group.gathered()
        begun = time.monotonic()
        group.leader.watch(lambda: time.monotonic() - begun)
        assert "a step has not finished for 1 s" in group.until_lost(0)


def test_a_follower_that_is_asked_to_stop_tells_the_leader() -> None:
    with members(2) as group:
        stop_requested = threading.Event()
        group.leader.leaving = stop_requested.set
        group.gathered()
        group.followers[0].leave()
        assert stop_requested.wait(PATIENCE)
        assert not group.losses


def test_a_follower_that_leaves_while_all_load_ends_all() -> None:
    with members(2) as group:
        group.gathered()
        group.followers[0].leave()
        assert group.until_lost(0) == "process 1 was asked to stop"


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        (dict(processes=0), "processes must be at least 1"),
        (dict(processes=2, process_id=2, coordinator="a:1"), "process_id must be from 0 to 1, got 2"),
        (dict(processes=2), "coordinator must be host:port"),
        (dict(processes=2, coordinator="host:0"), "coordinator must be host:port"),
        (dict(processes=2, coordinator="host:1", heartbeat=0.5), "heartbeat must be at least 1, got 0.5"),
    ],
)
def test_settings_out_of_bounds(settings: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        MultihostConfig(**settings)
