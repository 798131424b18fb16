"""Reads a streamed answer in a thread."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

from jaxchat.client import ChatCompletionChunk

_POLL = 0.5  # seconds after which a wait ends that began just after Ctrl-C, which does not interrupt it
Open = Callable[[], AbstractContextManager[Iterator[ChatCompletionChunk]]]


@contextmanager
def read_in_background(open_stream: Open) -> Iterator[Iterator[ChatCompletionChunk]]:
    """Opens a stream in a thread, and yields an iterator over its chunks.

    Ctrl-C interrupts the caller, which waits for the thread. It does not interrupt the thread's call of gRPC. After an
    interrupted call, gRPC might wait forever when its channel is closed. If the caller leaves the context before the
    last chunk, the thread closes the stream when the next chunk arrives.

    Args:
        open_stream: returns a context that yields the chunks. The iterator raises its exceptions.
    """
    received: queue.SimpleQueue[ChatCompletionChunk | Exception | None] = queue.SimpleQueue()
    left = threading.Event()

    def read() -> None:
        try:
            with open_stream() as chunks:
                for chunk in chunks:
                    if left.is_set():
                        return
                    received.put(chunk)
        except Exception as error:
            received.put(error)
        received.put(None)

    threading.Thread(target=read, name="jaxchat-answer", daemon=True).start()
    try:
        yield _items(received)
    finally:
        left.set()


def _items(received: queue.SimpleQueue[ChatCompletionChunk | Exception | None]) -> Iterator[ChatCompletionChunk]:
    while True:
        try:
            item = received.get(timeout=_POLL)
        except queue.Empty:
            continue
        if item is None:
            return
        if isinstance(item, Exception):
            raise item
        yield item
