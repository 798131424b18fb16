"""The events of the prefix cache: whoever applies them has the set of cached prefixes at any time."""

from __future__ import annotations

import queue
from itertools import product

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from jaxchat.cache_events import CacheCleared, ChunksRemoved, ChunksStored
from jaxchat.engine.cache_recorder import CacheRecorder
from jaxchat.engine.page_pool import PagePool
from jaxchat.engine.router import DataParallelEngine
from jaxchat.engine.scheduler import Scheduler
from jaxchat.types import GenerateRequest
from tests.engine.cache_replica import Replica
from tests.engine.fake import PAGE, FakeRunner
from tests.engine.harness import CHUNK, Harness, ask

CHUNKS = (b"a", b"b")
PROMPTS = [path for length in (1, 2, 3) for path in product(CHUNKS, repeat=length)]


class Cache(RuleBasedStateMachine):
    """Prompts of one-page chunks that come and go in a pool of few pages."""

    def __init__(self) -> None:
        super().__init__()
        self.pool, self.replica = PagePool(6), Replica()
        self.pool.recorder = CacheRecorder(self.replica, "model", 0)
        self.users: list[list] = []

    @rule(chunks=st.sampled_from(PROMPTS))
    def enter(self, chunks: tuple[bytes, ...]) -> None:
        prefixes = self.pool.match_prefix(chunks)
        if not self.pool.reserve(len(chunks) - len(prefixes)):
            self.pool.release(prefixes)
            return
        for chunk in chunks[len(prefixes) :]:
            prefix = self.pool.insert_prefix(prefixes[-1] if prefixes else None, chunk, (self.pool.take(),))
            assert prefix
            prefixes.append(prefix)
        self.users.append(prefixes)

    @precondition(lambda self: self.users)
    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        self.pool.release(self.users.pop(data.draw(st.integers(0, len(self.users) - 1))))

    @rule()
    def clear(self) -> None:
        self.pool.clear()

    @invariant()
    def the_replica_has_what_the_pool_has(self) -> None:
        assert self.pool.recorder
        self.pool.recorder.flush()
        assert self.replica.cached == {path for path in PROMPTS if self.pool.count_prefix(path) == len(path)}


TestCache = Cache.TestCase
TestCache.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)


def observed(**harness: int) -> tuple[Harness, Replica]:
    replica = Replica()
    running = Harness(start=False, **harness)
    running.engine.observe_cache(replica, "model")
    running.start()
    return running, replica


def test_a_prompt_is_one_event_of_its_whole_chunks() -> None:
    running, replica = observed()
    request = ask(3 * CHUNK, 2)  # the last chunk is computed by every prompt, but cached all the same
    running.gather_one(request)
    running.settle()
    chunks = [request.prompt[start : start + CHUNK].tobytes() for start in range(0, 3 * CHUNK, CHUNK)]
    events = [event for _, events in replica.batches for event in events]
    assert [chunk for event in events for chunk in event.tokens] == chunks
    assert replica.cached == {tuple(chunks[:count]) for count in (1, 2, 3)}


def test_a_second_prompt_names_its_parent() -> None:
    running, replica = observed()
    first = ask(2 * CHUNK + 1, 1)
    second = GenerateRequest(prompt=np.append(first.prompt[:CHUNK], first.prompt[: 2 * CHUNK]), max_tokens=1)
    running.gather_one(first)
    running.gather_one(second)
    running.settle()
    known = next(iter(replica.prefixes))
    stored = [event for _, events in replica.batches for event in events if isinstance(event, ChunksStored)]
    assert [event.parent for event in stored if event.parent in (None, known)][-1] == known


def test_forgotten_prefixes_are_one_event() -> None:
    running, replica = observed()
    running.gather_one(ask(3 * CHUNK, 1))
    running.engine.forget_prefixes()
    running.settle()
    assert isinstance(replica.batches[-1][1][-1], CacheCleared) and not replica.cached


def test_prefixes_in_use_survive_and_the_others_are_named() -> None:
    pool, replica = PagePool(5), Replica()
    pool.recorder = CacheRecorder(replica, "model", 0)
    assert pool.reserve(2)
    used, idle = (pool.insert_prefix(None, chunk, (pool.take(),)) for chunk in CHUNKS)
    assert used and idle
    pool.release([idle])
    pool.clear()
    pool.recorder.flush()
    assert isinstance(replica.batches[-1][1][-1], ChunksRemoved) and replica.cached == {(b"a",)}


def test_eviction_is_told_when_pages_run_short() -> None:
    running, replica = observed(slots=1, pages=8)
    for seed in range(4):
        running.gather_one(ask(3 * CHUNK, 1, seed=seed))
    running.settle()
    assert any(isinstance(event, ChunksRemoved) for _, events in replica.batches for event in events)
    assert 0 < len(replica.cached) <= 3


def test_engines_of_data_parallelism_have_ranks_and_hashes_of_their_own() -> None:
    sizes = dict(slots=1, prefill_buckets=(CHUNK,), page_size=PAGE, pages=20)
    parts = [(FakeRunner(1, 20), Scheduler(**sizes)) for _ in range(2)]
    engine, replica = DataParallelEngine(parts, queue_limit=10, chunk=CHUNK), Replica()
    engine.observe_cache(replica, "model")
    for runner, _ in parts:
        runner.ready.clear()  # holds both slots until both prompts have one
    finished: queue.SimpleQueue[None] = queue.SimpleQueue()
    engine.start(lambda events: [finished.put(None) for event in events if event.finish] and None)
    prompt = ask(CHUNK + 1, 3)
    for _ in range(2):
        engine.submit(prompt)
    for runner, _ in parts:
        runner.ready.set()
    for _ in range(2):
        finished.get(timeout=10)
    engine.stop()
    stored = {rank: event for rank, (event, *_) in replica.batches if isinstance(event, ChunksStored)}
    assert stored.keys() == {0, 1} and stored[0].tokens == stored[1].tokens
    assert stored[0].hashes != stored[1].hashes


def test_servers_of_a_model_agree_on_hashes_and_those_of_another_do_not() -> None:
    hashes = []
    for model in ("model", "model", "other"):
        replica = Replica()
        recorder = CacheRecorder(replica, model, 0)
        recorder.stored(1, 0, b"tokens")
        recorder.flush()
        hashes += replica.prefixes
    assert hashes[0] == hashes[1] != hashes[2]
