"""Pods of real server processes on this machine's CPU, each process with some devices of its own."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

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


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


@dataclass
class Pod:
    """`server` is the leader, ready; `logs` have what each process said on stderr, the leader first."""

    server: Process
    followers: list[subprocess.Popen[str]]
    logs: list[Path]

    def wait(self) -> list[int]:
        """The exit status of each process, the leader first."""
        return [process.wait(PATIENCE) for process in (self.server.process, *self.followers)]

    def stop(self) -> list[int]:
        self.server.process.send_signal(signal.SIGTERM)
        return self.wait()

    def said(self, process: int) -> str:
        return self.logs[process].read_text()


def launch(
    arguments: Sequence[str], log: Path, *, devices: int = 1, program: Sequence[str] = MODULE
) -> subprocess.Popen[str]:
    """One process with that many CPU devices."""
    flags = f"--xla_force_host_platform_device_count={devices}"
    environment = os.environ | {"JAX_PLATFORMS": "cpu", "XLA_FLAGS": flags}
    command = [sys.executable, *program, "serve", *arguments]
    with log.open("w") as errors:
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True, env=environment)


def member(model: Path, processes: int, process_id: int, port: int, *flags: str) -> list[str]:
    """The arguments of one process of a pod."""
    place = ("--processes", str(processes), "--process-id", str(process_id), "--coordinator", f"127.0.0.1:{port}")
    return ["--model", str(model), *SIZES, "--grpc-port", "0", "--rest-port", "0", *place, *flags]


def ready(process: subprocess.Popen[str], log: Path) -> Process:
    """A server, once it says so."""
    assert process.stdout is not None
    said = ""
    for line in process.stdout:
        said += line
        if line.startswith("Ready"):
            break
    grpc, rest = re.search(r"gRPC +(\S+)", said), re.search(r"REST +(\S+)", said)
    assert grpc and rest, said + log.read_text()
    return Process(grpc[1], rest[1], said, process)


def start_pod(
    model: Path,
    folder: Path,
    *flags: str,
    processes: int,
    devices: int = 1,
    port: int = 0,
    programs: Sequence[str] = MODULE,
) -> Pod:
    """A pod, ready, split over all its devices. `programs` is what all processes run."""
    port = port or free_port()
    split = ("--tensor-parallel", str(processes * devices), *flags)
    logs = [folder / f"log{index}" for index in range(processes)]
    started = [
        launch(member(model, processes, index, port, *split), log, devices=devices, program=programs)
        for index, log in enumerate(logs)
    ]
    return Pod(ready(started[0], logs[0]), started[1:], logs)


def start_alone(model: Path, folder: Path, *flags: str, devices: int) -> Pod:
    """One process that has all devices: what a pod must answer like."""
    log = folder / "alone"
    arguments = ["--model", str(model), *SIZES, "--grpc-port", "0", "--rest-port", "0", *flags]
    process = launch([*arguments, "--tensor-parallel", str(devices)], log, devices=devices)
    return Pod(ready(process, log), [], [log])
