"""Several engines behind the methods of one: data parallelism, each engine with its own copy of the model."""

from __future__ import annotations

import itertools
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import astuple

import numpy as np

from jaxchat.arithmetic import cdiv
from jaxchat.engine.engine import Deliver, Engine, EngineStats
from jaxchat.engine.scheduler import Scheduler
from jaxchat.types import GenerateRequest, StepRunner


class DataParallelEngine:
    """As an `Engine`, over engines that give equal answers. Methods are thread-safe.

    A request goes where at least half of its prompt is cached, as long as a slot is free there, otherwise to the
    engine with the fewest sequences. One engine that fails is a failure of all.
    """

    def __init__(self, engines: Sequence[tuple[StepRunner, Scheduler]], *, queue_limit: int, chunk: int) -> None:
        """
        Args:
            engines: those of each engine; the schedulers have equal slots.
            queue_limit: sequences that may wait in all engines together.
            chunk: tokens that prompts share at once.
        """
        count = len(engines)
        self._slots = engines[0][1].slots
        self._engines = [
            Engine(*part, queue_limit=cdiv(queue_limit, count), ids=itertools.count(first, count))
            for first, part in enumerate(engines)
        ]
        self._prefix_affinity = PrefixAffinity(chunk)
        self._next_engine = itertools.cycle(range(count))
        self._lock = threading.Lock()

    def start(self, deliver: Deliver, ended: Callable[[], None] = lambda: None) -> None:
        """As `Engine.start`; both are called from several threads, `ended` once for each engine."""
        for engine in self._engines:
            engine.start(deliver, ended)

    def stop(self, patience: float | None = None) -> None:
        """As `Engine.stop`, one after the other."""
        for engine in self._engines:
            engine.stop(patience)

    @property
    def alive(self) -> bool:
        return all(engine.alive for engine in self._engines)

    @property
    def failure(self) -> BaseException | None:
        """That of the first engine that has failed."""
        return next((engine.failure for engine in self._engines if engine.failure), None)

    @property
    def stats(self) -> EngineStats:
        """The sums of all engines."""
        return EngineStats(*map(sum, zip(*(astuple(engine.stats) for engine in self._engines), strict=True)))

    def submit(self, request: GenerateRequest) -> int:
        """As `Engine.submit`, to one of the engines. Raises QueueFull and EngineStopped."""
        with self._lock:
            keys = self._prefix_affinity.keys(request.prompt)
            home = self._choose(request, keys)
            number = self._engines[home].submit(request)
            self._prefix_affinity.record(keys, home)
        return number

    def cancel(self, request_id: int, choice: int | None = None) -> None:
        """As `Engine.cancel`."""
        self._engines[request_id % len(self._engines)].cancel(request_id, choice)

    def forget_prefixes(self) -> None:
        """As `Engine.forget_prefixes`, in all."""
        for engine in self._engines:
            engine.forget_prefixes()

    def _choose(self, request: GenerateRequest, keys: list[int]) -> int:
        loads = [stats.waiting + stats.running for stats in (engine.stats for engine in self._engines)]
        home, tokens = self._prefix_affinity.find(keys)
        if 2 * tokens >= len(request.prompt) and loads[home] + request.choices <= self._slots:
            return home
        first = next(self._next_engine)  # among equals another one each time
        count = len(loads)
        return min(range(count), key=lambda index: (loads[index], (index - first) % count))


REMEMBERED = 1 << 16  # chunks of prompts, of the newest ones


class PrefixAffinity:
    """Homes of prompts by the chain of their whole chunks. A hint: two prompts may share a key by accident."""

    def __init__(self, chunk: int) -> None:
        self._chunk = chunk
        self._homes: OrderedDict[int, int] = OrderedDict()

    def keys(self, prompt: np.ndarray) -> list[int]:
        """One for each whole chunk of i32 `[tokens]`, which stands for all tokens up to its end."""
        hashes: list[int] = []
        for end in range(self._chunk, len(prompt) + 1, self._chunk):
            tokens = prompt[end - self._chunk : end].tobytes()
            hashes.append(hash((hashes[-1] if hashes else 0, tokens)))
        return hashes

    def find(self, keys: list[int]) -> tuple[int, int]:
        """The home of the longest beginning that is known and its tokens; (0, 0) for none."""
        for count in range(len(keys), 0, -1):
            home = self._homes.get(keys[count - 1])
            if home is not None:
                return home, count * self._chunk
        return 0, 0

    def record(self, keys: list[int], home: int) -> None:
        """Remembers where a prompt went, and forgets the oldest."""
        for key in keys:
            self._homes[key] = home
            self._homes.move_to_end(key)
        while len(self._homes) > REMEMBERED:
            self._homes.popitem(last=False)
