"""The determinism tool finds no difference on a small run, and finds one that is there."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests import tiny
from tools.determinism.__main__ import Report
from tools.determinism.answers import Choice

pytestmark = pytest.mark.first


@pytest.mark.exhaustive
def test_a_small_run_is_equal_bit_for_bit(tmp_path: Path) -> None:
    model = tiny.write(tmp_path / "model", **tiny.EXPERTS)
    command = [sys.executable, "-m", "tools.determinism", "--model", str(model), "--dtype", "bfloat16"]
    done = subprocess.run(
        [*command, "--requests", "16", "--slots", "4", "--words", "4", "--longest", "100"],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 differing answers; 0 compiles after ready" in done.stdout
    assert int(re.search(r"(\d+) sequences swapped out", done.stdout)[1]) > 0
    assert len(re.findall(r"^\| [^|]+ \| 16 \|", done.stdout, re.MULTILINE)) == 4


def test_a_differing_bit_is_counted(capsys) -> None:
    entry = (b"a", b"\x00\x00\x00\x00", ())
    report = Report([{}], [{0: Choice("a", (), "stop", (entry,))}])
    report.add("same", [{0: Choice("a", (), "stop", (entry,))}], 0)
    assert report.differing == 0
    report.add("other", [{0: Choice("a", (), "stop", ((b"a", b"\x01\x00\x00\x00", ()),))}], 0)
    assert report.differing == 1 and "other" in capsys.readouterr().err
