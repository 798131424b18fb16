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

SECONDS = 1.0  # for one grammar
START_SECONDS = 30.0  # for the start of the process with its tokenizer
ORPHANED = 60  # seconds on one grammar after which the process ends itself, because its parent must be dead
WAIT_SECONDS = 10.0  # for probes of other requests
_TOO_LARGE = "compiling it takes too much memory"


class Busy(Exception):
    """An error for a probe that waited too long for the probes of other requests."""


class TooSlow(Exception):
    """An error for a probe that took longer than its time limit. It may succeed when the machine is less busy."""


@dataclass
class TimeBudget:
    """The time that remains for all grammars of one request, in seconds."""

    remaining: float = 3 * SECONDS


class Sandbox:
    """A thread-safe handle of a process that probes grammars, one at a time.

    The process starts on first use, and again after it was killed.
    """

    def __init__(self, tokens: list[bytes], ends: list[int], seconds: float = SECONDS) -> None:
        """Prepares the first message to the process.

        Args:
            tokens: as for `probe.grammar_tokenizer`.
            ends: as for `probe.grammar_tokenizer`.
            seconds: time limit of one probe.
        """
        self._hello = [[token.hex() for token in tokens], ends]
        self._seconds = seconds
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None

    def error_of(self, grammar: str, budget: TimeBudget) -> str:
        """Returns the grammar's error, or an empty string. Subtracts the time of the probe from `budget`.

        Raises:
            Busy: probes of other requests took more than 10 s.
            TooSlow: the probe exceeded its time limit or the budget, or computing the grammar's masks is too slow.
            RuntimeError: the process does not start within 30 s.
        """
        if budget.remaining <= 0:
            raise TooSlow
        if not self._lock.acquire(timeout=WAIT_SECONDS):
            raise Busy
        try:
            if self._process and self._process.poll() is not None:
                self._stop()  # it ended between two probes
            process = self._process or self._start()
            started = time.monotonic()
            try:
                answer = _ask(process, grammar, min(self._seconds, budget.remaining))
            except TooSlow:
                self._stop()
                raise
            finally:
                budget.remaining -= time.monotonic() - started
            if answer is None:
                self._stop()
                return _TOO_LARGE
            if answer == probe.TOO_SLOW:
                raise TooSlow
            return str(answer)
        finally:
            self._lock.release()

    def close(self) -> None:
        """Ends the process. Waits for a probe that runs. A later probe starts a new process."""
        with self._lock:
            self._stop()

    def _start(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-P", probe.__file__, str(ORPHANED)]
        pipe, null = subprocess.PIPE, subprocess.DEVNULL
        # A new session keeps keyboard interrupts from the process.
        process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=null, start_new_session=True)
        self._process = process
        answer = None
        with suppress(TooSlow):
            answer = _ask(process, self._hello, START_SECONDS)
        if answer is None:
            self._stop()
            raise RuntimeError("the process that probes grammars did not start")
        return process

    def _stop(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()
            for stream in (process.stdin, process.stdout):
                with suppress(OSError):
                    _pipe(stream).close()


def _ask(process: subprocess.Popen[bytes], message: Any, seconds: float) -> Any:
    """Returns the answer to a message, or None if the process ended.

    Raises:
        TooSlow: the answer did not arrive in time. The process is killed.
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
        raise TooSlow
    return answer


def _pipe(stream: IO[bytes] | None) -> IO[bytes]:
    assert stream is not None  # Popen was called with both pipes
    return stream
