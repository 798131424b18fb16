"""Multihost servers of real processes on this machine's CPU, each process with its own virtual devices."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.ports import free_port
from tests.serving.process import MODULE, PATIENCE, Process

SIZES = (
    "--slots",
    "4",
    "--prefill-chunk",
    "32",
    "--max-seq-len",
    "128",
    "--cpu-matmul",
    "xla",
    "--startup-prompt",
    "none",
)


@dataclass
class MultihostServer:
    """The processes that serve one model.

    Attributes:
        server: the leader, which is ready.
        followers: the other processes.
        logs: standard error of each process, the leader's first.
    """

    server: Process
    followers: list[subprocess.Popen[str]]
    logs: list[Path]

    def wait(self) -> list[int]:
        """Returns the exit status of each process, the leader's first."""
        return [process.wait(PATIENCE) for process in (self.server.process, *self.followers)]

    def stop(self) -> list[int]:
        self.server.process.send_signal(signal.SIGTERM)
        return self.wait()

    def log(self, process: int) -> str:
        return self.logs[process].read_text()


def launch(
    arguments: Sequence[str], log: Path, *, devices: int = 1, program: Sequence[str] = MODULE
) -> subprocess.Popen[str]:
    """Starts one process of the server.

    Args:
        arguments: arguments of `jaxchat serve`.
        log: file for standard error.
        devices: number of virtual CPU devices.
        program: arguments of Python that run the command.
    """
    flags = f"--xla_force_host_platform_device_count={devices}"
    environment = os.environ | {"JAX_PLATFORMS": "cpu", "XLA_FLAGS": flags}
    command = [sys.executable, *program, "serve", *arguments]
    with log.open("w") as errors:
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True, env=environment)


def member(model: Path, processes: int, process_id: int, port: int, *flags: str) -> list[str]:
    """Returns the arguments of process `process_id` of `processes` processes, with the coordinator on `port`."""
    place = ("--processes", str(processes), "--process-id", str(process_id), "--coordinator", f"127.0.0.1:{port}")
    return ["--model", str(model), *SIZES, "--grpc-port", "0", "--rest-port", "0", *place, *flags]


def ready(process: subprocess.Popen[str], log: Path) -> Process:
    """Returns the server of a process once it reports that it is ready. Fails with its `log` if it ends before."""
    assert process.stdout is not None
    output = ""
    for line in process.stdout:
        output += line
        if line.startswith("Ready"):
            break
    grpc, rest = re.search(r"gRPC +(\S+)", output), re.search(r"REST +(\S+)", output)
    assert grpc and rest, output + log.read_text()
    return Process(grpc[1], rest[1], output, process)


def start_multihost(
    model: Path,
    folder: Path,
    *flags: str,
    processes: int,
    devices: int = 1,
    port: int = 0,
    programs: Sequence[str] = MODULE,
) -> MultihostServer:
    """Starts a model split over the devices of several processes, and waits until it is ready.

    Args:
        model: directory of the model.
        folder: folder for logs.
        flags: further flags of all processes.
        processes: number of processes.
        devices: devices of each process.
        port: port of the coordinator; 0 picks a free one.
        programs: arguments of Python that run the command.
    """
    port = port or free_port()
    split = ("--tensor-parallel", str(processes * devices), *flags)
    logs = [folder / f"log{index}" for index in range(processes)]
    started = [
        launch(member(model, processes, index, port, *split), log, devices=devices, program=programs)
        for index, log in enumerate(logs)
    ]
    return MultihostServer(ready(started[0], logs[0]), started[1:], logs)


def start_single(
    model: Path, folder: Path, *flags: str, devices: int, programs: Sequence[str] = MODULE
) -> MultihostServer:
    """Starts one process with all `devices`, whose answers those of several processes must equal.

    The other arguments are those of `start_multihost`.
    """
    log = folder / "single"
    arguments = ["--model", str(model), *SIZES, "--grpc-port", "0", "--rest-port", "0", *flags]
    process = launch([*arguments, "--tensor-parallel", str(devices)], log, devices=devices, program=programs)
    return MultihostServer(ready(process, log), [], [log])
