"""A real server in a separate process, to which tools send requests."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType

import httpx

COUNTERS = ("num_requests_running", "num_requests_waiting", "kv_cache_usage_perc")


class ServerProcess:
    """A process of `jaxchat serve` on free ports. The constructor waits until the server is ready.

    Args:
        flags: further flags of the command line.
        command: `serve`, or `rest` for a process that serves only REST.
        program: what starts jaxchat. Default: this interpreter, with the repository's sources.
        folder: its working folder. Default: this process's.
        environment: its environment. Default: this process's.

    Attributes:
        grpc: the gRPC address, `host:port`; "" with `rest`.
        rest: the REST URL, which ends in /v1.
        model: name of the served model; "" with `rest`.

    Raises:
        RuntimeError: the server does not start.
    """

    def __init__(
        self,
        *flags: str,
        command: str = "serve",
        program: Sequence[str] = (sys.executable, "-m", "serving.cli.main"),
        folder: Path | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        ports = ["--rest-port", "0"] + ["--grpc-port", "0"] * (command == "serve")
        arguments = [*program, command, *ports, *flags]
        self._process = subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True, cwd=folder, env=environment)
        output = self._until_ready()
        self.rest = _announced(output, "REST")
        self.grpc, self.model = (_announced(output, name) if command == "serve" else "" for name in ("gRPC", "model"))

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def memory(self) -> int:
        """Returns the resident memory in bytes, or 0 on systems without /proc."""
        try:
            status = Path(f"/proc/{self._process.pid}/status").read_text()
        except FileNotFoundError:
            return 0
        match = re.search(r"VmRSS:\s+(\d+) kB", status)
        return 1024 * int(match[1]) if match else 0

    def load(self) -> dict[str, float]:
        """Returns the numbers of running and waiting sequences and the fraction of pages in use, by metric name."""
        return self.metrics(*COUNTERS)

    def metrics(self, *names: str) -> dict[str, float]:
        """Returns metrics whose only label is the model, by name. Omits names that are not on the metrics page."""
        page = httpx.get(self.rest.removesuffix("/v1") + "/metrics", trust_env=False, timeout=30).text
        matches = {name: re.search(rf"^jaxchat:{name}\{{.*\}} (\S+)$", page, re.M) for name in names}
        return {name: float(match[1]) for name, match in matches.items() if match}

    def becomes_idle(self, seconds: float = 30.0) -> bool:
        """Waits at most `seconds` for the load to become zero. Returns whether it did."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if self.load() == dict.fromkeys(COUNTERS, 0.0):
                return True
            time.sleep(0.05)
        return False

    def send(self, number: int) -> int:
        """Sends a signal that ends the process. Returns its exit code."""
        self._process.send_signal(number)
        return self._process.wait()

    def stop(self, seconds: float = 60.0) -> int:
        """Stops the process and returns its exit code. Kills it if it does not end within `seconds`."""
        self._process.send_signal(signal.SIGTERM)
        try:
            return self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()

    def _until_ready(self) -> str:
        assert self._process.stdout is not None
        output = ""
        for line in self._process.stdout:
            output += line
            if line.startswith("Ready"):
                return output
        raise RuntimeError(f"the server did not start; its output:\n{output}")

    def __enter__(self) -> ServerProcess:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        if self.alive:
            self.stop()


def _announced(output: str, name: str) -> str:
    match = re.search(rf"^{name} +(\S+)", output, re.M)
    if not match:
        raise RuntimeError(f"the server's output has no {name}:\n{output}")
    return match[1]
