"""Ends the process at once on a signal, while threads run that cannot be interrupted."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def ending_at_once() -> Iterator[None]:
    """Makes Ctrl-C and SIGTERM end the process at once, with status 130 or 143, until the context ends.

    It is for loading a model: threads that compile programs cannot be interrupted, and the interpreter waits for them
    before it ends.
    """
    handlers = {number: signal.signal(number, _end) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


def _end(number: int, _: object) -> None:
    if sys.stderr.isatty():
        os.write(sys.stderr.fileno(), b"\n")  # `print` could fail, because the signal may have interrupted it
    os._exit(128 + number)
