"""An engine with the fake device, for tests that submit requests and collect their events."""

from __future__ import annotations

import queue
import time
from typing import Any

import numpy as np

from jaxchat.engine.engine import Engine
from jaxchat.engine.scheduler import Scheduler
from jaxchat.types import GenerateRequest, TokenEvent
from tests.engine.fake import PAGE, FakeRunner

CHUNK = 32


class Harness:
    def __init__(
        self,
        slots: int = 3,
        pages: int = 60,
        queue_limit: int = 1000,
        vocab: int = 0,
        start: bool = True,
        **scheduling: Any,
    ) -> None:
        self.runner = FakeRunner(slots, pages)
        sizes = dict(slots=slots, prefill_buckets=(CHUNK,), page_size=PAGE, pages=pages, vocab=vocab)
        self.scheduler = Scheduler(**sizes, **scheduling)
        self.engine = Engine(self.runner, self.scheduler, queue_limit=queue_limit)
        self.events: queue.SimpleQueue[TokenEvent] = queue.SimpleQueue()
        if start:
            self.start()

    def start(self) -> None:
        """Starts the engine thread."""
        self.engine.start(lambda events: [self.events.put(event) for event in events] and None)

    def gather(self, choices: int) -> dict[tuple[int, int], list[TokenEvent]]:
        """Returns the events by request and choice, once `choices` choices have finished."""
        actual: dict[tuple[int, int], list[TokenEvent]] = {}
        while choices:
            event = self.events.get(timeout=10)
            actual.setdefault((event.request, event.choice), []).append(event)
            choices -= event.finish is not None
        return actual

    def gather_one(self, request: GenerateRequest) -> list[TokenEvent]:
        """Submits a request with one choice and returns its events."""
        number = self.engine.submit(request)
        return self.gather(1)[number, 0]

    def settle(self) -> None:
        """Waits until the engine is idle, and stops it."""
        deadline = time.monotonic() + 10
        while self.left() != (0, 0, 0) and time.monotonic() < deadline:
            time.sleep(0.001)
        self.engine.stop()
        assert self.left() == (0, 0, 0)

    def left(self) -> tuple[int, int, int]:
        """Returns the numbers of waiting sequences, running sequences, and pages in use."""
        stats = self.engine.stats
        return stats.waiting, stats.running, stats.pages_in_use


def ask(length: int, tokens: int, choices: int = 1, stop: int | None = None, seed: int = 0) -> GenerateRequest:
    prompt = np.random.default_rng([length, seed]).integers(0, 900, length).astype(np.int32)
    stops = frozenset() if stop is None else frozenset({int(prompt[-1]) + stop})
    return GenerateRequest(prompt=prompt, max_tokens=tokens, choices=choices, stop_tokens=stops)
