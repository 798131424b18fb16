"""Probes grammars in a separate process, because compiling cannot be interrupted but a process can be killed."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import IO, Any

from jaxchat.chat.grammar import probe

CPU_SECONDS = 1.0  # processor time for one grammar
WALL_SECONDS = 10.0  # for all grammars of a request, on a machine that gives the process little processor time
START_SECONDS = 30.0  # for the start of the process with its tokenizer
WAIT_SECONDS = 10.0  # for probes of other requests
_TOO_LARGE = "compiling it takes too much memory"
_OF_PROCESSOR = "of processor time"
_TOGETHER = f"compiling all schemas of the request takes more than {3 * CPU_SECONDS:g} s {_OF_PROCESSOR}"


class Busy(Exception):
    """The error for a probe that had to wait too long, because the machine or the process is busy."""


class TooSlow(Exception):
    """The error for a probe that takes too much processor time. On a faster machine, the same probe may succeed.

    The message is a phrase that becomes part of another message.
    """


@dataclass
class TimeBudget:
    """The seconds that remain for all grammars of one request: `cpu` of processor time, `wall` by the clock."""

    cpu: float = 3 * CPU_SECONDS
    wall: float = WALL_SECONDS


class Sandbox:
    """A thread-safe handle of a process that probes grammars, one at a time.

    The process starts on first use, and again after it was killed.
    """

    def __init__(self, tokens: list[bytes], ends: list[int], cpu_seconds: float = CPU_SECONDS) -> None:
        """Prepares the first message to the process.

        Args:
            tokens: bytes of each token by id, empty for control tokens.
            ends: ids of the stop tokens, at least one.
            cpu_seconds: limit of one probe's processor time.
        """
        self._hello = [[token.hex() for token in tokens], ends]
        self._cpu_seconds = cpu_seconds
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None

    def error_of(self, grammar: str, budget: TimeBudget) -> str:
        """Returns the grammar's error, or an empty string. Subtracts the time of the probe from `budget`.

        Raises:
            Busy: probes of other requests took more than 10 s, or the probes of this request took more than
                `budget.wall`.
            TooSlow: the probe took more processor time than the limit of a probe or than `budget.cpu`, or one token
                mask took more than 0.05 s of processor time.
            RuntimeError: the process does not start within 30 s.
        """
        if budget.cpu <= 0:
            raise TooSlow(_TOGETHER)
        if budget.wall <= 0 or not self._lock.acquire(timeout=WAIT_SECONDS):
            raise Busy
        try:
            return self._probe(grammar, budget)
        finally:
            self._lock.release()

    def _probe(self, grammar: str, budget: TimeBudget) -> str:
        if self._process and self._process.poll() is not None:
            self._stop()  # it ended between two probes
        process = self._process or self._start()
        limit, started = min(self._cpu_seconds, budget.cpu), time.monotonic()
        try:
            answer = _ask(process, [grammar, limit], budget.wall)
        except Busy:
            self._stop()
            raise
        finally:
            budget.wall -= time.monotonic() - started
        if answer is None:
            if self._stop() != probe.ENDED_BY_LIMIT:
                return _TOO_LARGE
            budget.cpu -= limit
            raise TooSlow(_TOGETHER if budget.cpu <= 0 else f"compiling it takes more than {limit:g} s {_OF_PROCESSOR}")
        error, used = answer
        budget.cpu -= used
        if error == probe.TOO_SLOW:
            raise TooSlow(f"following it takes more than {probe.SLOW:g} s {_OF_PROCESSOR} for a token")
        return str(error)

    def close(self) -> None:
        """Waits for a probe that is running, then ends the process. A later probe starts a new process."""
        with self._lock:
            self._stop()

    def _start(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-P", probe.__file__]
        pipe, null = subprocess.PIPE, subprocess.DEVNULL
        # A new session keeps keyboard interrupts from the process.
        process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=null, start_new_session=True)
        self._process = process
        answer = None
        with suppress(Busy):
            answer = _ask(process, self._hello, START_SECONDS)
        if answer is None:
            self._stop()
            raise RuntimeError("the process that probes grammars did not start")
        return process

    def _stop(self) -> int | None:
        """Ends the process, if it runs. Returns its exit status; None if there was no process."""
        process, self._process = self._process, None
        if process is None:
            return None
        process.kill()
        status = process.wait()
        for stream in (process.stdin, process.stdout):
            with suppress(OSError):
                _pipe(stream).close()
        return status


def _ask(process: subprocess.Popen[bytes], message: Any, seconds: float) -> Any:
    """Returns the answer to a message, or None if the process ended.

    Raises:
        Busy: the answer did not arrive in time. The process is killed.
    """
    late = threading.Event()

    def expire() -> None:
        late.set()
        process.kill()  # ends a write or a read that blocks

    answer, timer = None, threading.Timer(seconds, expire)
    timer.daemon = True
    timer.start()
    with suppress(OSError, EOFError):
        probe.send(_pipe(process.stdin), message)  # type: ignore[arg-type]
        answer = probe.receive(_pipe(process.stdout))  # type: ignore[arg-type]
    timer.cancel()
    timer.join()
    if late.is_set():
        raise Busy
    return answer


def _pipe(stream: IO[bytes] | None) -> IO[bytes]:
    assert stream is not None  # Popen was called with both pipes
    return stream
