"""One command gives a table and a picture of a tiny model's steps."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.exhaustive
def test_a_table_and_a_picture(tiny_model: Path, tmp_path: Path) -> None:
    picture = tmp_path / "profile.png"
    command = [sys.executable, "-m", "tools.profiling", "--model", str(tiny_model), "--output", str(picture)]
    done = subprocess.run(
        [*command, "--streams", "2", "--prompt", "40", "--tokens", "8"], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert picture.read_bytes().startswith(b"\x89PNG")
    rows = {line.split("|")[1].strip(): line.split("|")[2:-1] for line in done.stdout.splitlines() if "|" in line}
    for kind in ("qkv", "attention", "mlp", "head", "sampling"):
        decode, prefill, host = rows[kind]
        assert float(decode.split()[0]) >= 0 and float(prefill.split()[0]) >= 0 and not host.strip()
    assert all(float(cell) > 0 for cell in rows["all"])
    assert all(rows[phase][2].strip() for phase in ("schedule", "pack", "dispatch", "wait", "emit"))
