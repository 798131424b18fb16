"""A real server in a process of its own, for the tools that load it from outside."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType

import httpx

COUNTERS = ("num_requests_running", "num_requests_waiting", "kv_cache_usage_perc")


class ServerProcess:
    """`jaxchat serve` on free ports. `grpc` is `host:port`, `rest` a URL that ends in /v1."""

    def __init__(self, *flags: str) -> None:
        command = [sys.executable, "-m", "serving.cli.main", "serve", "--grpc-port", "0", "--rest-port", "0", *flags]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        said = self._until_ready()
        self.grpc, self.rest, self.model = (_said(said, name) for name in ("gRPC", "REST", "model"))

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def memory(self) -> int:
        """Resident bytes, where /proc tells them; else 0."""
        try:
            status = Path(f"/proc/{self._process.pid}/status").read_text()
        except FileNotFoundError:
            return 0
        found = re.search(r"VmRSS:\s+(\d+) kB", status)
        return 1024 * int(found[1]) if found else 0

    def load(self) -> dict[str, float]:
        """What runs, what waits, and the share of pages in use."""
        return self.metrics(*COUNTERS)

    def metrics(self, *names: str) -> dict[str, float]:
        """Values of /metrics without labels but the model's."""
        page = httpx.get(self.rest.removesuffix("/v1") + "/metrics", trust_env=False, timeout=30).text
        found = {name: re.search(rf"^jaxchat:{name}\{{.*\}} (\S+)$", page, re.M) for name in names}
        return {name: float(match[1]) for name, match in found.items() if match}

    def becomes_idle(self, seconds: float = 30.0) -> bool:
        """Whether the load falls to zero in time."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if self.load() == dict.fromkeys(COUNTERS, 0.0):
                return True
            time.sleep(0.05)
        return False

    def stop(self, seconds: float = 60.0) -> int:
        """Asks it to end and returns its exit code; kills it when it does not end in time."""
        self._process.send_signal(signal.SIGTERM)
        try:
            return self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()

    def _until_ready(self) -> str:
        assert self._process.stdout is not None
        said = ""
        for line in self._process.stdout:
            said += line
            if line.startswith("Ready"):
                return said
        raise RuntimeError(f"the server did not start; it said:\n{said}")

    def __enter__(self) -> ServerProcess:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        if self.alive:
            self.stop()


def _said(text: str, name: str) -> str:
    found = re.search(rf"^{name} +(\S+)", text, re.M)
    if not found:
        raise RuntimeError(f"the server names no {name}:\n{text}")
    return found[1]
