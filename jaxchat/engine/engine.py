"""The engine thread: accepts requests, keeps the device one step ahead of the host, delivers tokens."""

from __future__ import annotations

import itertools
import logging
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from jaxchat.cache_events import CacheObserver
from jaxchat.engine.cache_recorder import CacheRecorder
from jaxchat.engine.scheduler import Scheduler, Step
from jaxchat.engine.sequence import Sequence, sequences_of
from jaxchat.engine.stats import EngineStats, StepTokens
from jaxchat.engine.step_timer import StepTimer
from jaxchat.types import (
    DecodeWork,
    GenerateRequest,
    PrefillWork,
    StepHandle,
    StepRunner,
    SwapInWork,
    SwapOutWork,
    TokenEvent,
    Work,
)

Deliver = Callable[[list[TokenEvent]], None]
log = logging.getLogger(__name__)


class QueueFull(Exception):
    """The error for a request that would exceed the queue limit."""


class EngineStopped(Exception):
    """The error for a request to an engine that is not running."""


@dataclass(frozen=True)
class _Submit:
    sequences: list[Sequence]


@dataclass(frozen=True)
class _Cancel:
    request_id: int
    choice: int | None


class _Forget:
    pass


class _Stop:
    pass


class Engine:
    """Continuous batching over a `StepRunner`. Methods are thread-safe.

    The host trails the device by one step: step N + 1 is dispatched before the result of step N is read. The device
    waits for the host only after steps with grammars or drafts, whose results decide what the next step is. A token
    that ends its sequence may be followed by surplus tokens, which are discarded.
    """

    def __init__(
        self, runner: StepRunner, scheduler: Scheduler, *, queue_limit: int, ids: Iterator[int] | None = None
    ) -> None:
        """Creates an engine whose thread has not started.

        Args:
            runner: runs the steps.
            scheduler: chooses the steps.
            queue_limit: number of sequences that may wait for a slot.
            ids: yields the id of each request; by default 1, 2, ...
        """
        self._runner = runner
        self._scheduler = scheduler
        self._queue_limit = queue_limit
        self._deliver: Deliver = lambda events: None
        self._ended: Callable[[], None] = lambda: None
        self._inbox: queue.SimpleQueue[_Submit | _Cancel | _Forget | _Stop] = queue.SimpleQueue()
        self._in_flight: deque[tuple[Step, StepHandle]] = deque()
        self._ids = ids or itertools.count(1)
        self._events: list[TokenEvent] = []  # not yet delivered
        self._unfinished = 0  # sequences that were submitted and have not ended; changed under the lock
        self._lock = threading.Lock()
        self._steps = 0
        self._step_tokens = StepTokens()
        self._timer = StepTimer(scheduler.took)
        self._open: dict[int, int] = {}  # number of unfinished sequences, by request id
        self.failure: BaseException | None = None
        self._stopped = False
        self._thread = threading.Thread(target=self._run, name="jaxchat-engine", daemon=True)

    def start(self, deliver: Deliver, ended: Callable[[], None] = lambda: None) -> None:
        """Starts the engine thread.

        Args:
            deliver: called on the engine thread with the events of a step, at the latest when the next step has
                begun. Also called when the thread ends, with the failures of unfinished requests.
            ended: called when the thread ends, after all events. The attribute `failure` is then None if the engine
                was stopped, and otherwise the error.
        """
        self._deliver, self._ended = deliver, ended
        self._thread.start()

    def observe_cache(self, observer: CacheObserver, model: str, rank: int = 0) -> None:
        """Makes `observer` get the changes of the prefix cache; see `CacheRecorder`. Call it before `start`."""
        self._scheduler.pool.recorder = CacheRecorder(observer, model, rank)

    def stop(self, patience: float | None = None) -> None:
        """Ends the engine thread after the current step. Unfinished requests end with `engine_failure`.

        Args:
            patience: maximum seconds to wait for the thread; None waits without limit. Set it if a device may be lost,
                because a step that waits for a lost device never ends.
        """
        self._inbox.put(_Stop())
        if self._thread.is_alive():
            self._thread.join(patience)

    @property
    def alive(self) -> bool:
        """Whether the thread runs and accepts requests."""
        return self._thread.is_alive() and not self._stopped

    @property
    def stats(self) -> EngineStats:
        """The load, read without a lock: counts may be a step apart. `waiting + running` counts each sequence once."""
        s = self._scheduler
        running = s.running
        drafts, (queries, hits) = s.speculation, s.prefix_lookups
        return EngineStats(
            waiting=max(self._unfinished - running, 0),
            running=running,
            pages_in_use=s.pool.in_use,
            pages=s.pool.total,
            steps=self._steps,
            preemptions=s.preemptions,
            drafts=drafts.drafted,
            accepted_drafts=drafts.accepted,
            prefix_queries=queries,
            prefix_hits=hits,
            tokens=self._step_tokens.total,
            step_tokens=self._step_tokens.counts,
        )

    def submit(self, request: GenerateRequest) -> int:
        """Queues all choices of a request and returns its id. Events may be delivered before this call returns.

        Raises:
            QueueFull: the free slots and the queue have no room for all choices. However, if the request has more
                choices than there are places in slots and queue together, it is accepted if no sequence waits.
            EngineStopped: the engine is not running: it has not started, was stopped or has failed.
        """
        with self._lock:
            if not self.alive:
                raise EngineStopped
            if not self._has_room(request.choices):
                raise QueueFull
            self._unfinished += request.choices
            request_id = next(self._ids)
            self._inbox.put(_Submit(sequences_of(request_id, request)))
        return request_id

    def _has_room(self, choices: int) -> bool:
        """Returns whether slots and queue can hold `choices` more sequences.

        If `choices` is more than slots and queue can ever hold, returns whether no sequence waits.
        """
        limit = self._scheduler.slots + self._queue_limit
        if choices <= limit:
            return self._unfinished + choices <= limit
        return self._unfinished <= self._scheduler.running

    def cancel(self, request_id: int, choice: int | None = None) -> None:
        """Drops a request, or one choice of the request, before the next step and without a final event.

        Ignores requests and choices that have ended already.
        """
        self._inbox.put(_Cancel(request_id, choice))

    def limit_drafts(self, count: int) -> None:
        """Sets the maximum number of draft tokens of a sequence in one step, 0 to 15, from the next step on."""
        self._scheduler.speculation.limit = count

    def forget_prefixes(self) -> None:
        """Drops cached prefixes that no sequence uses, before the next step."""
        self._inbox.put(_Forget())

    def _run(self) -> None:
        try:
            while self._take_commands():
                self._run_step()
        except BaseException as error:
            log.exception("the engine failed")
            self.failure = error
        finally:
            with self._lock:  # after this, `submit` raises: nothing may enter an inbox after its last read
                self._stopped = True
            self._fail_open()
            self._ended()

    def _run_step(self) -> None:
        """Dispatches the next step, if any, and processes the results of all but the newest step.

        Processes the newest step's result too if the scheduler needs it (`Step.awaited`), or if no step was dispatched.
        Delivers events while the device is busy: delivery takes time, and would otherwise delay the next dispatch.
        """
        step = self._scheduler.schedule()
        if step:
            if not self._in_flight:
                self._timer.dispatched()
            self._in_flight.append((step, self._dispatch(step.work)))
            self._steps += 1
            self._step_tokens.record(step.tokens)
            self._scheduler.pool.publish_changes()
        self._deliver_events()
        allowed = 1 if step and not step.awaited else 0
        while len(self._in_flight) > allowed:
            done, handle = self._in_flight.popleft()
            began = time.perf_counter()
            outcome = handle.wait()
            self._timer.ended(done, time.perf_counter() - began, bool(self._in_flight))
            events = self._scheduler.process_output(done, outcome)
            self._events += events
            for finished in (event for event in events if event.finish):
                self._close(finished.request)
            if self._in_flight:
                self._deliver_events()

    def _deliver_events(self) -> None:
        if self._events:
            events, self._events = self._events, []
            self._deliver(events)

    def _dispatch(self, work: Work) -> StepHandle:
        match work:
            case PrefillWork():
                return self._runner.prefill(work)
            case DecodeWork():
                return self._runner.decode(work)
            case SwapOutWork():
                return self._runner.swap_out(work)
            case SwapInWork():
                return self._runner.swap_in(work)

    def _take_commands(self) -> bool:
        """Applies the commands in the inbox. Returns False if a command stops the engine.

        Blocks for a command while no sequence waits or runs and no step is in flight.
        """
        while True:
            idle = not (self._scheduler.waiting or self._scheduler.running or self._in_flight)
            if idle:
                self._timer.idle()
                self._deliver_events()
            try:
                command = self._inbox.get(block=idle)
            except queue.Empty:
                return True
            if isinstance(command, _Stop):
                return False
            if isinstance(command, _Cancel):
                for _ in range(self._scheduler.cancel(command.request_id, command.choice)):
                    self._close(command.request_id)
            elif isinstance(command, _Forget):
                self._scheduler.pool.clear()
                self._scheduler.pool.publish_changes()
            else:
                self._accept(command.sequences)

    def _accept(self, sequences: list[Sequence]) -> None:
        self._open[sequences[0].request_id] = len(sequences)
        for sequence in sequences:
            self._scheduler.add(sequence)

    def _close(self, request_id: int) -> None:
        with self._lock:
            self._unfinished -= 1
        self._open[request_id] -= 1
        if not self._open[request_id]:
            del self._open[request_id]

    def _fail_open(self) -> None:
        """Reports `engine_failure` for every request that has not ended."""
        while not self._inbox.empty():
            command = self._inbox.get()
            if isinstance(command, _Submit):
                self._open[command.sequences[0].request_id] = len(command.sequences)
        self._events += [TokenEvent(request_id, -1, -1, "engine_failure") for request_id in self._open]
        self._open.clear()
        self._unfinished = 0
        self._deliver_events()
