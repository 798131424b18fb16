"""Tries grammars in a process of their own: compiling one cannot be interrupted, a process can be killed."""

from __future__ import annotations

import select
import subprocess
import sys
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import IO, Any

from jaxchat.chat.grammar import probe

SECONDS = 1.0  # for one grammar
START_SECONDS = 30.0  # for the process and its tokenizer, which is known to be good
ORPHANED = 60  # seconds for one grammar after which the process ends by itself: whoever started it was killed
WAIT_SECONDS = 10.0  # for the trials of others
_TOO_LONG = "compiling it takes too long or too much memory"


class Busy(Exception):
    """Other grammars are being tried for too long."""


@dataclass
class TimeBudget:
    """Seconds that all grammars of one request may still take."""

    left: float = 3 * SECONDS


class Sandbox:
    """One process, started when it is first needed and again after it was killed. Thread-safe, one trial at a time."""

    def __init__(self, tokens: list[bytes], ends: list[int], seconds: float = SECONDS) -> None:
        """See `probe.grammar_tokenizer`; a trial may take `seconds`."""
        self._hello = [[token.hex() for token in tokens], ends]
        self._seconds = seconds
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None

    def error_of(self, grammar: str, allowance: TimeBudget) -> str:
        """Why the grammar cannot be used, or an empty text; takes its time from the allowance. Raises `Busy`."""
        if allowance.left <= 0:
            return _TOO_LONG
        if not self._lock.acquire(timeout=WAIT_SECONDS):
            raise Busy
        try:
            if self._process and self._process.poll() is not None:
                self._stop()  # it ended between trials, through nobody's grammar
            process = self._process or self._start()
            started = time.monotonic()
            answer = _ask(process, grammar, min(self._seconds, allowance.left))
            allowance.left -= time.monotonic() - started
            if answer is None:
                self._stop()
                return _TOO_LONG
            return str(answer)
        finally:
            self._lock.release()

    def close(self) -> None:
        """Ends the process; another trial would start one."""
        with self._lock:
            self._stop()

    def _start(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-P", probe.__file__, str(ORPHANED)]
        pipe, nowhere = subprocess.PIPE, subprocess.DEVNULL
        # In a session of its own, an interrupt from the keyboard does not reach it.
        process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=nowhere, start_new_session=True)
        self._process = process
        if _ask(process, self._hello, START_SECONDS) is None:
            self._stop()
            raise RuntimeError("the process that tries grammars did not start")
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
    """The answer to a message, None when none comes in time."""
    with suppress(OSError, EOFError):
        probe.send(_pipe(process.stdin), message)  # type: ignore[arg-type]
        if select.select([_pipe(process.stdout)], [], [], seconds)[0]:
            return probe.receive(_pipe(process.stdout))  # type: ignore[arg-type]
    return None


def _pipe(stream: IO[bytes] | None) -> IO[bytes]:
    assert stream is not None  # both ends were asked for
    return stream
