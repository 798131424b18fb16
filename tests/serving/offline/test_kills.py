"""The command `jaxchat batch`, killed and continued: at a server, and with a real model."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from serving.cli.main import main
from serving.offline.state import state_path
from tests.serving.conftest import Running
from tests.serving.offline.batches import outputs, request, write

COUNT = 30
ENGINE = ("--slots", "4", "--prefill-chunk", "32")


def lines(state: Path) -> int:
    return state.read_bytes().count(b"\n") if state.exists() else 0


def kill_twice(command: list[str], out: Path) -> None:
    """Runs a command twice. Kills it each time when it has written some more lines."""
    done = 0
    for _ in range(2):
        process = subprocess.Popen(
            [sys.executable, "-m", "serving.cli.main", *command], stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL
        )
        while process.poll() is None and lines(state_path(out)) < done + 4:
            time.sleep(0.001)
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL  # it was not at its end
        assert not out.exists()
        done = lines(state_path(out))


def test_a_killed_batch_at_a_server_continues_to_the_same_bytes(server: Running, tmp_path: Path) -> None:
    source = write(tmp_path / "in.jsonl", *(request(str(index), f"a b {index}") for index in range(200)))
    whole, out = tmp_path / "whole.jsonl", tmp_path / "out.jsonl"
    command = ["batch", str(source), str(out), "--url", server.rest, "--concurrency", "3"]
    kill_twice(command, out)
    assert main(command) == 0
    assert main(["batch", str(source), str(whole), "--url", server.rest]) == 0
    assert out.read_bytes() == whole.read_bytes()
    assert [line["custom_id"] for line in outputs(out)] == [*map(str, range(200))]


@pytest.mark.exhaustive  # starts four engines
def test_a_killed_batch_continues_to_the_same_bytes(tiny_model: Path, tmp_path: Path) -> None:
    questions = [request(str(index), "Tell me", "tiny", max_tokens=60, n=1 + index % 2) for index in range(COUNT)]
    source = write(tmp_path / "in.jsonl", *questions, request("refused", "x", "tiny", top_p=2))
    whole, out = tmp_path / "whole.jsonl", tmp_path / "out.jsonl"
    command = ["batch", str(source), str(out), "--model", str(tiny_model), *ENGINE, "--concurrency", "3"]
    kill_twice(command, out)
    assert main(command) == 0
    assert main(["batch", str(source), str(whole), "--model", str(tiny_model), *ENGINE]) == 0
    assert out.read_bytes() == whole.read_bytes()
    assert [line["custom_id"] for line in outputs(out)] == [*map(str, range(COUNT)), "refused"]
