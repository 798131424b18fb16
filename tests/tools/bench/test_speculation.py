"""The benchmark of drafts: its requests are whole, its figures are what they are called, and it runs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tools.bench.speculation import Run, _row
from tools.bench.tasks import TASKS


@pytest.mark.parametrize("task", TASKS)
def test_tasks_have_four_requests_with_text(task: str) -> None:
    requests = TASKS[task]()
    assert len(requests) == 4
    for request in requests:
        fields = request.fields("m")
        assert fields["temperature"] == 0 and len(fields["messages"][-1]["content"]) > 20


def test_a_row_has_the_median_of_paired_ratios() -> None:
    off = [Run([[1] * 100], seconds, [0.5], 0, 0) for seconds in (10, 20, 40)]
    auto = [Run([[1] * 100], seconds, [0.25], 80, 60) for seconds in (5, 10, 10)]
    task, users, slow, fast, ratio, tokens, accepted, *gaps = _row("edit", 2, off, auto)
    assert (task, users, slow, fast, ratio) == ("edit", 2, "5.0", "10.0", "2.00")
    assert (tokens, accepted, gaps) == ("2.50", "75 %", ["500", "250"])


@pytest.mark.exhaustive
def test_it_runs(tiny_model: Path) -> None:
    command = [sys.executable, "-m", "tools.bench.speculation", "--model", str(tiny_model), "--tasks", "chat"]
    done = subprocess.run(
        [*command, "--users", "1", "3", "--repetitions", "1", "--slots", "4", "--max-seq-len", "512"],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("| chat |") == 2
