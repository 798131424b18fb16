"""Ports that are free now and stay free for a while."""

from __future__ import annotations

import errno
import random
import socket


def free_port() -> int:
    """Returns a free port that the system gives nobody who asks for any port.

    A port of the range from which the system takes such ports could be taken before a test listens on it.
    """
    chosen = random.SystemRandom()  # not the generator that plugins seed alike in each worker
    while True:
        port = chosen.randrange(20_000, 32_000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError as error:
                if error.errno != errno.EADDRINUSE:
                    raise
            else:
                return port
