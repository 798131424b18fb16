"""Probes in another process end in time, whatever that process does, and waiting for a processor is not their fault."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from pathlib import Path

import pytest

from jaxchat.chat.grammar import probe, sandbox
from jaxchat.chat.grammar.sandbox import Busy, Sandbox, TimeBudget, TooSlow

GRAMMAR = '{"grammars":[{"json_schema":{"type":"integer"}}]}'
STARTS = """
import struct, sys, time
def receive():
    return sys.stdin.buffer.read(struct.unpack("<I", sys.stdin.buffer.read(4))[0])
def answer(data):
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()
receive()
answer(struct.pack("<I", 2) + b'""')
"""
STALLS = {
    "in its answer": "receive(); answer(struct.pack('<I', 100) + b'\"half'); time.sleep(60)",
    "in the length of its answer": "receive(); answer(bytes(2)); time.sleep(60)",
    "before it reads": "time.sleep(60)",
}


@pytest.mark.parametrize("stall", STALLS)
def test_a_process_that_stalls_is_killed(stall: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "stalls.py"
    program.write_text(STARTS + STALLS[stall])
    monkeypatch.setattr(probe, "__file__", str(program))
    sandboxed, started = Sandbox([b"a"], [0]), time.monotonic()
    with pytest.raises(Busy):
        sandboxed.error_of(GRAMMAR + " " * (1 << 20), TimeBudget(wall=0.3))
    assert time.monotonic() - started < 20
    assert sandboxed._process is None


def test_a_process_that_never_starts_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "sleeps.py"
    program.write_text("import time; time.sleep(60)")
    monkeypatch.setattr(probe, "__file__", str(program))
    monkeypatch.setattr(sandbox, "START_SECONDS", 0.3)
    with pytest.raises(RuntimeError, match="did not start"):
        Sandbox([b"a" * 100] * 10_000, [0]).error_of(GRAMMAR, TimeBudget())


def test_an_answer_that_ends_early_is_no_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "ends.py"
    program.write_text(STARTS + "receive(); answer(struct.pack('<I', 100) + b'\"half')")
    monkeypatch.setattr(probe, "__file__", str(program))
    assert Sandbox([b"a"], [0]).error_of(GRAMMAR, TimeBudget(wall=20)) != ""


ENDLESS = json.dumps(
    {
        "grammars": [
            {"json_schema": {"allOf": [{"type": "string", "pattern": f".*a.{{{i}}}b.*"} for i in range(10, 60)]}}
        ]
    }
)
BYTES, END = [*(bytes([byte]) for byte in range(256)), b""], [256]
needs_signals = pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="this system has no timers of processes")


@needs_signals
def test_a_grammar_that_takes_too_much_processor_time_ends_the_process_and_is_named() -> None:
    sandboxed, budget = Sandbox(BYTES, END, cpu_seconds=0.2), TimeBudget()
    assert sandboxed.error_of(GRAMMAR, budget) == ""
    process, left = sandboxed._process, budget.cpu
    assert process is not None
    with pytest.raises(TooSlow, match=r"more than 0\.2 s of processor time"):
        sandboxed.error_of(ENDLESS, budget)
    assert process.returncode == -signal.SIGPROF, "it ends by itself, even if nobody is left to kill it"
    assert budget.cpu == pytest.approx(left - 0.2)
    assert sandboxed.error_of(GRAMMAR, budget) == "", "a new process takes its place"
    sandboxed.close()


@needs_signals
def test_the_grammars_of_a_request_share_their_processor_time() -> None:
    sandboxed, budget = Sandbox(BYTES, END), TimeBudget(cpu=0.1)
    for _ in range(2):
        with pytest.raises(TooSlow, match="all schemas of the request"):
            sandboxed.error_of(ENDLESS, budget)
    sandboxed.close()


@needs_signals
def test_time_without_a_processor_does_not_count_as_the_grammars() -> None:
    sandboxed = Sandbox(BYTES, END, cpu_seconds=0.3)
    assert sandboxed.error_of(GRAMMAR, TimeBudget()) == ""
    process = sandboxed._process
    assert process is not None
    os.kill(process.pid, signal.SIGSTOP)
    threading.Timer(2, os.kill, (process.pid, signal.SIGCONT)).start()
    budget = TimeBudget()
    assert sandboxed.error_of(GRAMMAR, budget) == "" and sandboxed._process is process
    assert budget.wall < sandbox.WALL_SECONDS - 0.5 and budget.cpu > 3 * sandbox.CPU_SECONDS - 0.3
    sandboxed.close()
