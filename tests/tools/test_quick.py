"""Which tests `make quick` takes for which changes."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence

import pytest

from tools import quick
from tools.quick import CORE, DEADLINE, ROOT, SECONDS, select_tests


@pytest.mark.parametrize(
    ("changed", "closest", "layers"),
    [
        ("jaxchat/planning/hlo.py", ["tests/planning/test_hlo.py"], ["tests/planning"]),
        ("jaxchat/models/families/gemma.py", [], ["tests/models"]),
        ("serving/auth.py", ["tests/serving/test_auth.py"], ["tests/serving"]),
        ("serving/rest/app.py", [], ["tests/serving"]),
        ("tools/bench/cases.py", ["tests/tools/bench/test_cases.py"], ["tests/tools/bench"]),
        ("tests/serving/test_auth.py", ["tests/serving/test_auth.py"], []),
        ("tests/serving/conftest.py", [], ["tests/serving"]),
        ("jaxchat/config.py", ["tests/test_config.py"], list(CORE)),
        ("tests/runtime/test_that_was_removed.py", [], []),
        ("docs/models.md", ["tests/test_docs.py", "tests/tools/docs/test_site.py"], []),
    ],
)
def test_tests_of_a_change(changed: str, closest: list[str], layers: list[str]) -> None:
    assert select_tests([changed]) == (closest, layers)


def test_tests_of_several_changes_are_taken_once() -> None:
    changed = ["serving/auth.py", "serving/tls.py", "tests/serving/test_auth.py"]
    assert select_tests(changed) == (["tests/serving/test_auth.py", "tests/serving/test_tls.py"], ["tests/serving"])


def test_the_quickest_tests_exist() -> None:
    assert all((ROOT / path).exists() for path in CORE)


@pytest.mark.parametrize("changed", [[], ["serving/auth.py"]])
def test_tests_of_changed_files_alone_have_the_deadline(monkeypatch: pytest.MonkeyPatch, changed: list[str]) -> None:
    deadlines: list[float] = []

    def record(arguments: Sequence[str]) -> int:
        deadlines.append(float(os.environ[DEADLINE]))
        return 0

    monkeypatch.setenv(DEADLINE, "inf")  # restored after the test
    monkeypatch.setattr(quick, "changed_paths", lambda: changed)
    monkeypatch.setattr(quick, "_pytest", record)
    assert quick.main() == 0
    assert deadlines and max(deadlines) <= (time.time() + SECONDS if changed else float("inf"))
    assert changed or deadlines == [float("inf")]
