"""Data parallelism: several engines, each with its own copy of the model, that are used like one engine."""

from __future__ import annotations

import itertools
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from functools import reduce
from operator import add

import numpy as np

from jaxchat.arithmetic import cdiv
from jaxchat.cache_events import CacheObserver
from jaxchat.engine.engine import Deliver, Engine
from jaxchat.engine.scheduler import Scheduler
from jaxchat.engine.stats import EngineStats
from jaxchat.types import GenerateRequest, StepRunner


class DataParallelEngine:
    """A router with the methods of `Engine`, over engines that each have a copy of the model. Methods are thread-safe.

    The router remembers which engine received each prefix last. If at least half of a new prompt is such a prefix, the
    request goes to that engine, provided that it has free slots for all choices. Otherwise the request goes to the
    engine with the fewest sequences.

    If one engine fails, all count as failed.
    """

    def __init__(self, engines: Sequence[tuple[StepRunner, Scheduler]], *, queue_limit: int, chunk: int) -> None:
        """Creates the engines without starting them.

        Args:
            engines: runner and scheduler of each engine; the schedulers have equal slots.
            queue_limit: number of sequences that may wait in all engines together; each engine has an equal part of
                this number, rounded up.
            chunk: tokens of a prompt chunk, the unit of the prefix cache.
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
        """Starts the threads of all engines. Each thread calls `deliver` and `ended`.

        Args:
            deliver: called with the new events of one engine.
            ended: called once for each engine, when its thread ends.
        """
        for engine in self._engines:
            engine.start(deliver, ended)

    def observe_cache(self, observer: CacheObserver, model: str) -> None:
        """Makes `observer` get all changes of the prefix caches, on the threads of the engines. Call it before `start`.

        Args:
            observer: gets the changes, each with the index of its engine.
            model: id of the model.
        """
        for rank, engine in enumerate(self._engines):
            engine.observe_cache(observer, model, rank)

    def stop(self, patience: float | None = None) -> None:
        """Stops the engines one after the other. Unfinished requests end with `engine_failure`.

        Args:
            patience: maximum seconds to wait for each engine; None waits without limit.
        """
        for engine in self._engines:
            engine.stop(patience)

    @property
    def alive(self) -> bool:
        """Whether all engines accept requests."""
        return all(engine.alive for engine in self._engines)

    @property
    def failure(self) -> BaseException | None:
        """The error of the failed engine with the lowest index, or None if no engine has failed."""
        return next((engine.failure for engine in self._engines if engine.failure), None)

    @property
    def stats(self) -> EngineStats:
        """The load of all engines together, as the sum of their `stats`."""
        return reduce(add, (engine.stats for engine in self._engines))

    def submit(self, request: GenerateRequest) -> int:
        """Queues a request in one of the engines and returns its id.

        Raises:
            QueueFull: the choices do not fit in the slots and the queue of the chosen engine.
            EngineStopped: the chosen engine is not running.
        """
        with self._lock:
            keys = self._prefix_affinity.keys(request.prompt)
            home = self._choose(request, keys)
            number = self._engines[home].submit(request)
            self._prefix_affinity.record(keys, home)
        return number

    def cancel(self, request_id: int, choice: int | None = None) -> None:
        """Drops a request, or one choice of it, before the next step. Ignores requests and choices that have ended."""
        self._engines[request_id % len(self._engines)].cancel(request_id, choice)

    def limit_drafts(self, count: int) -> None:
        """Sets the maximum number of draft tokens of a sequence in one step, 0 to 15, in every engine."""
        for engine in self._engines:
            engine.limit_drafts(count)

    def forget_prefixes(self) -> None:
        """Drops cached prefixes that no sequence uses, in every engine."""
        for engine in self._engines:
            engine.forget_prefixes()

    def _choose(self, request: GenerateRequest, keys: list[int]) -> int:
        loads = [stats.waiting + stats.running for stats in (engine.stats for engine in self._engines)]
        home, tokens = self._prefix_affinity.find(keys)
        if 2 * tokens >= len(request.prompt) and loads[home] + request.choices <= self._slots:
            return home
        first = next(self._next_engine)  # rotates among engines with equal load
        count = len(loads)
        return min(range(count), key=lambda index: (loads[index], (index - first) % count))


REMEMBERED = 1 << 16  # prompt chunks, the newest ones


class PrefixAffinity:
    """A map from the hash of each prefix to the engine that last received it.

    The map gives hints only: two prefixes may have the same hash, and an engine may have evicted a prefix.
    """

    def __init__(self, chunk: int) -> None:
        self._chunk = chunk
        self._homes: OrderedDict[int, int] = OrderedDict()

    def keys(self, prompt: np.ndarray) -> list[int]:
        """Returns one hash for each whole chunk of `prompt`, i32 `[tokens]`.

        Each hash covers all tokens up to the end of its chunk.
        """
        hashes: list[int] = []
        for end in range(self._chunk, len(prompt) + 1, self._chunk):
            tokens = prompt[end - self._chunk : end].tobytes()
            hashes.append(hash((hashes[-1] if hashes else 0, tokens)))
        return hashes

    def find(self, keys: list[int]) -> tuple[int, int]:
        """Finds the longest recorded prefix of a prompt.

        Args:
            keys: the prompt's hashes, from `keys`.

        Returns:
            The engine's index and the prefix's length in tokens; (0, 0) without a recorded prefix.
        """
        for count in range(len(keys), 0, -1):
            home = self._homes.get(keys[count - 1])
            if home is not None:
                return home, count * self._chunk
        return 0, 0

    def record(self, keys: list[int], home: int) -> None:
        """Records engine `home` for every prefix in `keys`. Keeps the last `REMEMBERED` prefixes."""
        for key in keys:
            self._homes[key] = home
            self._homes.move_to_end(key)
        while len(self._homes) > REMEMBERED:
            self._homes.popitem(last=False)
