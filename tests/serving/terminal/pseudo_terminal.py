"""Runs a program at a pseudo-terminal, as a person would."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

PATIENCE = 60  # seconds until a test gives up
_AT_TERMINAL = """
import fcntl, os, signal, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)  # makes Ctrl-C a signal
signal.signal(signal.SIGINT, signal.SIG_DFL)  # which the tests may have been started without
os.execv(sys.argv[1], sys.argv[1:])
"""


class PseudoTerminal:
    """A program whose standard input, output and error are one terminal. `seen` is all that it has written."""

    def __init__(self, command: Sequence[str], cwd: str, environment: Mapping[str, str]) -> None:
        self._own, other = pty.openpty()
        self.process = subprocess.Popen(
            [sys.executable, "-c", _AT_TERMINAL, *command],
            cwd=cwd,
            env=environment,
            stdin=other,
            stdout=other,
            stderr=other,
            start_new_session=True,
        )
        os.close(other)
        self.seen = ""
        self._place = 0  # in `seen`, after the last text that was waited for

    def type(self, text: str) -> None:
        os.write(self._own, text.encode())

    def read_until(self, text: str) -> None:
        """Reads until a text has come after the one that the last call waited for."""
        end = time.monotonic() + PATIENCE
        while (place := self.seen.find(text, self._place)) < 0:
            assert time.monotonic() < end and self._read(), f"{text!r} did not come: {self.seen!r}"
        self._place = place + len(text)

    def finish(self) -> int:
        """Reads until the program ends, and returns its exit status."""
        while self._read():
            pass
        return self.process.wait(PATIENCE)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(PATIENCE)
        os.close(self._own)

    def _read(self) -> bool:
        """Reads what is there, and returns whether more may come."""
        if not select.select([self._own], [], [], PATIENCE)[0]:
            return False
        try:
            data = os.read(self._own, 65536)
        except OSError:  # Linux reports the end of a terminal as an error
            return False
        self.seen += data.decode("utf-8", "replace")
        return bool(data)


@contextmanager
def at_terminal(*command: str, cwd: str, **environment: str) -> Iterator[PseudoTerminal]:
    """Yields a program that runs at a terminal, and ends it at last."""
    terminal = PseudoTerminal(command, cwd, {**os.environ, "TERM": "xterm", **environment})
    try:
        yield terminal
    finally:
        terminal.close()
