"""Runs the tests of the files that changed on this branch: `make quick`.

A change in `jaxchat/planning/hlo.py` runs `tests/planning/test_hlo.py`, then the other tests of `tests/planning`. A
test that has not begun after 90 seconds is skipped and counted in the summary.

If no changed file has tests, runs quick tests of each layer. These have no time limit, because CI relies on them.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SECONDS = 90.0
DEADLINE = "JAXCHAT_QUICK_DEADLINE"
CORE = (
    "tests/test_layers.py",
    "tests/test_compat.py",
    "tests/chat/grammar",
    "tests/chat/tools/test_harmony.py",
    "tests/chat/prompt/test_templates.py",
    "tests/chat/request/test_validate.py",
    "tests/chat/request/test_validate_messages.py",
    "tests/openai_json/test_response.py",
    "tests/openai_json/test_request.py",
    "tests/engine",
    "tests/runtime/test_compile.py",
    "tests/planning/test_hlo.py",
    "tests/planning/test_overlap.py",
    "tests/sampling/test_topk.py",
    "tests/models/test_families.py",
    "tests/contract/test_answers.py",
    "tests/serving/test_rest.py",
    "tests/serving/test_grpc.py",
    "tests/serving/test_end_to_end.py",
)


def changed_paths() -> list[str]:
    """Returns the paths that differ from the branch point on `main`, including uncommitted and new files."""
    base = _git("merge-base", "HEAD", "main") or ["HEAD"]
    return sorted({*_git("diff", "--name-only", *base), *_git("ls-files", "--others", "--exclude-standard")})


def select_tests(paths: Iterable[str]) -> tuple[list[str], list[str]]:
    """Returns the test files that changed or belong to a changed file, and the test directories of changed layers."""
    files, folders = dict[str, None](), dict[str, None]()
    for path in map(Path, paths):
        top, *inner = path.parts
        if path.suffix in (".md", ".svg") or path.name == "mkdocs.yml":
            files["tests/test_docs.py"] = files["tests/tools/docs/test_site.py"] = None
        if path.suffix == ".ipynb":
            files["tests/test_notebooks.py"] = files["tests/tools/docs/test_site.py"] = None
        if path.suffix != ".py" or top not in ("jaxchat", "serving", "tools", "tests"):
            continue
        if top == "tests":
            own = path if path.name.startswith("test_") else path.parent
        else:
            layer = Path("tests", *([] if top == "jaxchat" else [top]), *inner[:-1])
            twin = layer / f"test_{path.name}"
            if (ROOT / twin).exists():
                files[str(twin)] = None
            own = next(folder for folder in (layer, *layer.parents) if (ROOT / folder).is_dir())
        if (ROOT / own).exists():
            (files if own.suffix else folders)[str(own)] = None
    if "tests" in folders:  # a change that concerns all layers
        folders = dict.fromkeys(folders.keys() - {"tests"}) | dict.fromkeys(CORE)
    return list(files), [folder for folder in folders if folder not in files]


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skips a test that would begin after the deadline. This module is also a plugin of pytest."""
    if time.time() > float(os.environ.get(DEADLINE, "inf")):
        pytest.skip("out of time, `make test` runs it")


def main() -> int:
    """Runs pytest up to twice: on the tests of changed files, then on the other tests of changed layers.

    If there are neither, runs pytest on `CORE`. Returns the exit status of the first run that fails, or 0. A run
    without any test does not fail.
    """
    closest, layers = select_tests(changed_paths())
    if not closest and not layers:
        return _pytest(CORE)
    os.environ[DEADLINE] = str(time.time() + SECONDS)
    first = _pytest(closest) if closest else 0
    second = _pytest([*layers, *(f"--ignore={path}" for path in closest)]) if layers else 0
    return first or second


def _pytest(arguments: Sequence[str]) -> int:
    print("pytest", *arguments, flush=True)
    options = ["-p", "tools.quick", "--numprocesses", "2", "--dist", "loadfile"]
    status = subprocess.run([sys.executable, "-m", "pytest", *options, *arguments], cwd=ROOT).returncode
    return 0 if status == pytest.ExitCode.NO_TESTS_COLLECTED else status  # all tests of a layer may be ignored


def _git(*arguments: str) -> list[str]:
    """Returns the lines that git prints. Returns [] if git fails, for example outside a clone."""
    result = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True)
    return result.stdout.split("\n")[:-1] if result.returncode == 0 else []


if __name__ == "__main__":
    sys.exit(main())
