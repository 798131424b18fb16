"""KV events as a router reads them: with ZeroMQ's own sockets, frame by frame."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgpack
import numpy as np
import pytest
import zmq

from jaxchat.cache_events import CacheCleared, ChunksRemoved, ChunksStored
from serving.cli.main import main
from serving.config import ServeConfig
from serving.observability.kv_events import KvEventPublisher
from tests.ports import free_port

TOPIC = "kv@10.0.0.1:8000@tiny"
END = (1 << 64) - 1
PATIENCE_MS = 10_000


def chunk(*ids: int) -> bytes:
    return np.array(ids, np.int32).tobytes()


STORED = ChunksStored(None, [1, 2**64 - 1], [chunk(5, 6), chunk(7, 300_000)])


class Router:
    """The two sockets of a router that follows one server."""

    def __init__(self, context: zmq.Context, folder: Path, **settings: Any) -> None:
        self.endpoint, replay = f"ipc://{folder}/events", f"ipc://{folder}/replay"
        self.publisher = KvEventPublisher(self.endpoint, replay, TOPIC, **settings)
        self.events, self.replays = context.socket(zmq.SUB), context.socket(zmq.DEALER)
        self.events.subscribe(b"kv@")
        self.events.connect(self.endpoint)
        self.replays.connect(replay)
        self.published = 0

    def join(self) -> None:
        """Publishes until the subscription has arrived, since ZeroMQ drops what nobody subscribes to yet."""
        while not self.events.poll(50):
            self.publish(0, ChunksRemoved([0]))
        while self.events.poll(50):
            self.receive()

    def publish(self, rank: int, *events: Any) -> int:
        """Publishes a batch and returns its sequence number."""
        self.publisher.publish(rank, list(events))
        self.published += 1
        return self.published - 1

    def receive(self) -> tuple[int, list[Any]]:
        assert self.events.poll(PATIENCE_MS), "no message"
        topic, sequence, payload = self.events.recv_multipart()
        assert topic == TOPIC.encode() and len(sequence) == 8
        return int.from_bytes(sequence, "big"), msgpack.unpackb(payload)

    def replay(self, first: int) -> list[tuple[int, list[Any]]]:
        """Asks for all batches from `first` on, and checks how the answer ends."""
        self.replays.send_multipart([b"", first.to_bytes(8, "big")])
        batches = []
        while True:
            assert self.replays.poll(PATIENCE_MS), "the replay does not end"
            delimiter, topic, sequence, payload = self.replays.recv_multipart()
            assert delimiter == b"" and len(sequence) == 8
            number = int.from_bytes(sequence, "big")
            if not payload:
                assert (topic, number) == (b"", END)
                return batches
            assert topic == TOPIC.encode()
            batches.append((number, msgpack.unpackb(payload)))


@pytest.fixture
def router(tmp_path: Path) -> Iterator[Callable[..., Router]]:
    """Yields a function that starts a publisher with a router that follows it."""
    started: list[Router] = []
    with zmq.Context() as context:

        def start(**settings: Any) -> Router:
            started.append(Router(context, tmp_path, **settings))
            return started[-1]

        yield start
        for running in started:
            running.publisher.close()
            running.events.close()
            running.replays.close()


def test_frames_and_fields(router) -> None:
    running, before = router(), time.time()
    running.join()
    sequence = running.publish(0, STORED, ChunksRemoved([7, 8]), CacheCleared([9]))
    number, (timestamp, events, rank) = running.receive()
    assert number == sequence and rank == 0 and before - 1 < timestamp < time.time() + 1
    assert events == [
        ["BlockStored", [1, 2**64 - 1], None, [5, 6, 7, 300_000], 2, None, "GPU", None],
        ["BlockRemoved", [7, 8], "GPU"],
        ["AllBlocksCleared"],
    ]


def test_sequence_numbers_have_no_gap_and_a_parent_is_named(router) -> None:
    running = router()
    running.join()
    first, *_ = (running.publish(0, ChunksStored(3, [4], [chunk(1)])) for _ in range(50))
    received = [running.receive() for _ in range(50)]
    assert [number for number, _ in received] == list(range(first, first + 50))
    assert all(events[0][1:3] == [[4], 3] for _, (_, events, _) in received)


def test_replay_begins_where_it_is_asked_to(router) -> None:
    running = router()
    sequences = [running.publish(0, ChunksRemoved([index])) for index in range(20)]
    batches = running.replay(sequences[12])
    assert [(number, events[0][1]) for number, (_, events, _) in batches] == [(n, [n]) for n in range(12, 20)]
    assert running.replay(20) == [] and [number for number, _ in running.replay(0)] == sequences


def test_replay_is_what_was_sent(router) -> None:
    running = router()
    running.join()
    sequence = running.publish(0, STORED)
    assert running.replay(sequence) == [running.receive()]


def test_only_the_newest_batches_are_kept(router) -> None:
    running = router(buffer=8)
    for index in range(30):
        running.publish(0, ChunksRemoved([index]))
    assert [number for number, _ in running.replay(0)] == list(range(22, 30))


def test_a_replay_of_a_full_buffer_is_complete(router) -> None:
    running = router()
    for _ in range(12_000):
        running.publish(0, ChunksRemoved([1]))
    assert [number for number, _ in running.replay(0)] == list(range(2_000, 12_000))


def test_a_malformed_request_harms_nobody(router) -> None:
    running = router()
    running.publish(0, STORED)
    for frames in ([b"x"], [b"", b"short"], [b"", bytes(8), b"more"], [b"x", bytes(8)]):
        running.replays.send_multipart(frames)
    assert [number for number, _ in running.replay(0)] == [0]


def test_with_several_engines_one_that_is_cleared_names_its_blocks(router) -> None:
    running = router()
    running.join()
    running.publish(1, STORED)
    running.publish(0, CacheCleared([3]))
    assert running.receive()[1][2] == 1
    _, (_, events, rank) = running.receive()
    assert rank == 0 and events == [["BlockRemoved", [3], "GPU"]]


def test_what_is_published_last_arrives_before_the_end(router) -> None:
    running = router()
    running.join()
    sequence = running.publish(0, STORED)
    running.publisher.close()
    assert running.receive()[0] == sequence


def test_nobody_who_listens_holds_the_engine_up(router) -> None:
    running = router(buffer=4)
    for _ in range(10_000):
        running.publish(0, STORED)  # returns though the subscriber never reads
    running.events.close()
    assert [number for number, _ in running.replay(0)] == list(range(9_996, 10_000))


def test_a_server_connects_to_a_router_that_listens() -> None:
    with zmq.Context() as context, context.socket(zmq.SUB) as events:
        events.subscribe(b"")
        port = events.bind_to_random_port("tcp://127.0.0.1")
        publisher = KvEventPublisher(f"tcp://127.0.0.1:{port}", None, TOPIC)
        while not events.poll(50):
            publisher.publish(0, [STORED])
        assert events.recv_multipart()[0] == TOPIC.encode()
        publisher.close()


def test_the_address_of_another_machine_is_connected_to_although_it_has_two_colons() -> None:
    KvEventPublisher("tcp://[2001:db8::5]:5557", None, TOPIC).close()  # binding would fail: this machine has it not


def test_an_address_in_use_is_named() -> None:
    endpoint = f"tcp://*:{free_port()}"
    publisher = KvEventPublisher(endpoint, None, TOPIC)
    try:
        with pytest.raises(OSError, match=r"cannot publish KV events at tcp://\*:\d+: .*in use"):
            KvEventPublisher(endpoint, None, TOPIC)
    finally:
        publisher.close()


@pytest.mark.parametrize("endpoint", ["", "5557", "*:5557", "tcp://*", "tcp://*:0", "http://h:1", "tcp://a b:1"])
def test_addresses_that_cannot_be_are_refused(endpoint: str) -> None:
    with pytest.raises(ValueError, match="kv_events must be"):
        ServeConfig(kv_events=endpoint)


@pytest.mark.parametrize("setting", ["kv_events_replay", "kv_events_topic"])
def test_settings_of_events_need_events(setting: str) -> None:
    with pytest.raises(ValueError, match="need kv_events"):
        ServeConfig(**{setting: "tcp://*:5558"})


def test_without_the_extra(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("serving.observability.observers.find_spec", lambda name: None if name == "zmq" else True)
    assert main(["serve", "--kv-events", "tcp://*:5557"]) == 1
    assert "pip install 'jaxchat[kv-events]'" in capsys.readouterr().err
