"""Probes in another process end in time, whatever that process does."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from jaxchat.chat.grammar import probe, sandbox
from jaxchat.chat.grammar.sandbox import Sandbox, TimeBudget, TooSlow

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
    sandboxed, started = Sandbox([b"a"], [0], seconds=0.3), time.monotonic()
    with pytest.raises(TooSlow):
        sandboxed.error_of(GRAMMAR + " " * (1 << 20), TimeBudget())
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
    assert Sandbox([b"a"], [0], seconds=20).error_of(GRAMMAR, TimeBudget(20)) != ""
