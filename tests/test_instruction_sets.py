"""What is promised of bits holds for CPUs with AVX2 alone, on a machine that has more."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PLACES = ("kernels", "models", "runtime", "sampling")
HELD = "--xla_cpu_max_isa"


@pytest.mark.first
@pytest.mark.skipif(platform.machine() != "x86_64", reason="the instructions of x86")
@pytest.mark.skipif(HELD in os.environ.get("XLA_FLAGS", ""), reason="held to some instructions already")
@pytest.mark.parametrize(
    "tests", ["bits and not exhaustive", pytest.param("bits and exhaustive", marks=pytest.mark.exhaustive)]
)
def test_bits_agree_with_avx2_alone(tests: str) -> None:
    """Runs the tests that are marked `bits` in a process whose programs and kernels keep to AVX2."""
    flags = f"{os.environ.get('XLA_FLAGS', '')} {HELD}=AVX2"
    places = [str(ROOT / "tests" / place) for place in PLACES]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-m", tests, "-p", "no:cacheprovider", "-p", "no:xdist", *places],
        cwd=ROOT,
        env={**os.environ, "XLA_FLAGS": flags.strip()},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]
    assert " passed" in done.stdout
