"""Publishes over ZeroMQ, for routers, what the prefix cache stores and evicts. Requires the extra `kv-events`."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator

import zmq

from jaxchat.cache_events import CacheEvent
from serving.observability.kv_event_wire import END_OF_REPLAY, SEQUENCE_BYTES, EventBatch

log = logging.getLogger(__name__)
BUFFER = 10_000  # newest batches that are kept; vLLM's default too
_HIGH_WATER_MARK = 100_000  # messages that may wait for one subscriber, before it loses some
_POLL_MS = 100  # time in which the replay thread notices that it must end
_LINGER_MS = 200  # time for the last messages to leave


class EventBuffer:
    """The newest batches. Engine threads append batches, and other threads read batches without a lock.

    Args:
        size: number of batches that are kept.
    """

    def __init__(self, size: int) -> None:
        self._slots: list[EventBatch | None] = [None] * size
        self._ranks: set[int] = set()
        self._lock = threading.Lock()  # only between engine threads, and for microseconds
        self.next = 0  # sequence number of the next batch

    def append(self, rank: int, events: list[CacheEvent]) -> None:
        """Adds a batch. If the buffer is full, overwrites the oldest batch."""
        with self._lock:
            self._ranks.add(rank)
            batch = EventBatch(self.next, time.time(), rank, events, alone=len(self._ranks) == 1)
            self._slots[self.next % len(self._slots)] = batch
            self.next += 1

    def since(self, first: int) -> Iterator[EventBatch]:
        """Yields the batches from the sequence number `first` on. Omits batches that were overwritten."""
        end = self.next
        for sequence in range(max(first, end - len(self._slots)), end):
            batch = self._slots[sequence % len(self._slots)]
            if batch and batch.sequence == sequence:  # otherwise overwritten just now
                yield batch


class KvEventPublisher:
    """A cache observer that publishes each batch, and sends batches again on request.

    Engine threads only append to a buffer. A subscriber that is too slow misses batches, and sees a gap in the sequence
    numbers. It can then ask for the missing batches, and gets those that are still in the buffer.

    Args:
        endpoint: address of the PUB socket. The socket binds to an address that begins with `ipc:`, has a `*`, or whose
            host is `[::]` or `::`. It connects to any other address, on which a subscriber listens.
        replay_endpoint: address at which a ROUTER socket takes requests for old batches; None for no such socket.
        topic: first frame of every message.
        buffer: number of batches that are kept.

    Raises:
        OSError: an address cannot be used.
    """

    def __init__(self, endpoint: str, replay_endpoint: str | None, topic: str, *, buffer: int = BUFFER) -> None:
        self._topic = topic.encode()
        self._buffer = EventBuffer(buffer)
        self._context = zmq.Context()
        self._closing = False
        self._wake = threading.Event()
        self._threads = [threading.Thread(target=self._publish, args=(self._publishing_socket(endpoint),), daemon=True)]
        if replay_endpoint:
            socket = self._replay_socket(replay_endpoint, buffer)
            self._threads.append(threading.Thread(target=self._replay, args=(socket,), daemon=True))
        for thread in self._threads:
            thread.start()

    def publish(self, rank: int, events: list[CacheEvent]) -> None:
        self._buffer.append(rank, events)
        self._wake.set()

    def close(self) -> None:
        """Publishes the remaining batches, and closes the sockets."""
        self._closing = True
        self._wake.set()
        for thread in self._threads:
            thread.join()
        self._context.term()

    def _publishing_socket(self, endpoint: str) -> zmq.Socket[bytes]:
        socket = self._context.socket(zmq.PUB)
        socket.sndhwm = _HIGH_WATER_MARK
        self._attach(socket, endpoint, listens=_is_local(endpoint))
        return socket

    def _replay_socket(self, endpoint: str, buffer: int) -> zmq.Socket[bytes]:
        socket = self._context.socket(zmq.ROUTER)
        socket.sndhwm = buffer + 1  # a whole replay and its end
        self._attach(socket, endpoint, listens=True)
        return socket

    def _attach(self, socket: zmq.Socket[bytes], endpoint: str, *, listens: bool) -> None:
        socket.linger = _LINGER_MS
        try:
            socket.bind(endpoint) if listens else socket.connect(endpoint)
        except zmq.ZMQError as error:
            socket.close()
            self._context.destroy(linger=0)
            raise OSError(f"cannot publish KV events at {endpoint}: {error}") from None

    def _publish(self, socket: zmq.Socket[bytes]) -> None:
        """Sends every batch in order until the publisher closes."""
        following = 0
        with socket:
            while True:
                closing = self._closing
                for batch in self._buffer.since(following):
                    if batch.sequence > following:
                        log.warning("%d batches of KV events were not sent in time", batch.sequence - following)
                    socket.send_multipart(batch.frames(self._topic))
                    following = batch.sequence + 1
                if closing:
                    return
                self._wake.wait()
                self._wake.clear()

    def _replay(self, socket: zmq.Socket[bytes]) -> None:
        """Answers requests for old batches until the publisher closes."""
        with socket:
            while not self._closing:
                if socket.poll(_POLL_MS):
                    self._answer(socket, socket.recv_multipart())

    def _answer(self, socket: zmq.Socket[bytes], request: list[bytes]) -> None:
        """Sends the buffer's batches from a sequence number on, then an empty batch. Ignores a malformed request."""
        if len(request) != 3 or request[1] or len(request[2]) != SEQUENCE_BYTES:
            log.warning("malformed request for KV events with %d frames", len(request))
            return
        client = request[0]
        for batch in self._buffer.since(int.from_bytes(request[2], "big")):
            socket.send_multipart((client, b"", *batch.frames(self._topic)))
        socket.send_multipart((client, b"", b"", END_OF_REPLAY, b""))


def _is_local(endpoint: str) -> bool:
    """Returns whether a ZeroMQ address names this machine as a whole, not the address of a subscriber."""
    host = endpoint.partition("://")[2].rpartition(":")[0]
    return endpoint.startswith("ipc:") or "*" in endpoint or host in ("[::]", "::")
