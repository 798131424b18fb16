"""Starts the real server in a separate process."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

PATIENCE = 60  # seconds for a process to end
MODULE = ("-m", "serving.cli.main")
FREE_PORTS = ("--grpc-port", "0", "--rest-port", "0")  # for tests that get past the check of the ports


@dataclass(frozen=True)
class Process:
    """A running server.

    Attributes:
        grpc: `host:port`.
        rest: URL that ends in /v1.
        said: what it printed until it was ready.
        process: the process.
    """

    grpc: str
    rest: str
    said: str
    process: subprocess.Popen[str]

    def stop(self, number: int) -> int:
        """Sends a signal and returns the exit status."""
        self.process.send_signal(number)
        return self.process.wait(PATIENCE)


def serve(model: Path, *flags: str, program: tuple[str, ...] = MODULE, log: Path | None = None) -> Process:
    """Starts a server of 4 slots on free ports, and waits until it is ready.

    Args:
        model: directory of the model.
        flags: further flags.
        program: arguments of Python that run the command.
        log: file for standard error; None for that of the tests.
    """
    sizes = ("--slots", "4", "--prefill-chunk", "32")
    return start("serve", "--model", str(model), "--grpc-port", "0", *sizes, *flags, program=program, log=log)


def start(*arguments: str, program: tuple[str, ...] = MODULE, log: Path | None = None, until: str = "Ready") -> Process:
    """Starts a command that serves REST on a free port, and waits until it is ready.

    Args:
        arguments: arguments of the command.
        program: arguments of Python that run the command.
        log: file for standard error; None for that of the tests.
        until: how the line begins for which it waits.
    """
    command = [sys.executable, *program, *arguments, "--rest-port", "0"]
    with open(log, "w") if log else _inherited() as errors:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True)
    assert process.stdout is not None
    said = ""
    for line in process.stdout:
        said += line
        if line.startswith(until):
            break
    grpc, rest = re.search(r"gRPC +(\S+)", said), re.search(r"REST +(\S+)", said)
    assert rest, said
    return Process(grpc[1] if grpc else "", rest[1], said, process)


@contextmanager
def _inherited() -> Iterator[None]:
    yield None
