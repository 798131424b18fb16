"""What a start says: a few lines, and bars at a terminal."""

from __future__ import annotations

import io
import json
import logging
from pathlib import Path

import pytest

from serving.cli.progress import Progress
from serving.config import LogConfig
from serving.observability import logs
from tests.serving.process import serve


class Terminal(io.StringIO):
    """Standard error that is a terminal."""

    def isatty(self) -> bool:
        return True


def first_start(progress: Progress) -> None:
    for stage, total in (
        ("loading weights", 3),
        ("building kernels", 1),
        ("compiling programs", 10),
        ("compiling programs", 10),  # of a second copy
        ("comparing programs", 1),
    ):
        for done in range(total + 1):
            progress(stage, done, total)


def second_start(progress: Progress) -> None:
    for stage, total in (("loading weights", 3), ("loading programs", 10)):
        for done in range(total + 1):
            progress(stage, done, total)


def test_lines_of_a_first_start(capsys):
    first_start(Progress(Path("/cache")))
    assert capsys.readouterr().err.splitlines() == [
        "Loading weights.",
        "First start: building kernels in C++ for this CPU, less than a minute; kept in /cache.",
        "Built kernels in 0 s.",
        "First start with these settings: compiling 10 programs, about a minute; kept in /cache.",
        "Compiled in 0 s.",
    ]


def test_lines_of_a_second_start(capsys):
    second_start(Progress(Path("/cache")))
    assert capsys.readouterr().err.splitlines() == ["Loading weights.", "Loading 10 programs."]


def test_nothing_is_said_to_be_kept_where_it_is_not(capsys):
    first_start(Progress(None))
    assert "kept" not in capsys.readouterr().err


def test_bars_at_a_terminal_reach_their_end(monkeypatch):
    monkeypatch.setattr("sys.stderr", terminal := Terminal())
    first_start(Progress(Path("/cache")))
    output = terminal.getvalue()
    for stage, total in (("loading weights", 3), ("building kernels", 1), ("compiling programs", 10)):
        assert f"{stage}: 100%" in output and f"{total}/{total}" in output
    assert output.count("First start") == 2 and "Loading weights." not in output


def test_lines_among_json_are_json(monkeypatch):
    root = logging.getLogger()
    before = root.handlers[:], root.level
    monkeypatch.setattr("sys.stderr", stream := io.StringIO())
    config = LogConfig(log_format="json", log_level="error")
    logs.configure(config)
    second_start(Progress(None, logs.notices(config)))
    root.handlers[:], level = before
    root.setLevel(level)
    messages = [json.loads(line)["message"] for line in stream.getvalue().splitlines()]
    assert messages == ["Loading weights.", "Loading 10 programs."]


def test_a_server_whose_cache_folder_cannot_be_written_starts(tiny_model: Path, tmp_path: Path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", "/dev/null/x")
    monkeypatch.setenv("PATH", str(tmp_path))  # without a compiler, which would take long
    server = serve(tiny_model, "--slots", "1", "--prefill-buckets", "32", log=tmp_path / "log")
    assert server.stop(15) == 0
    said = (tmp_path / "log").read_text()
    assert "not kept for the next start: /dev/null/x/jaxchat/compiled cannot be written (Not a directory)" in said
    assert "First start with these settings: compiling 6 programs, about a minute; kept in " in said
    assert "Traceback" not in said and "Errno" not in said


@pytest.mark.parametrize("built", [True, False])
def test_kernels_are_announced_only_where_they_are_built(monkeypatch, built):
    from jaxchat.config import EngineConfig
    from jaxchat.runtime import matmul_backend

    told = []
    monkeypatch.setattr(matmul_backend, "_xla_reason", lambda *_: "")
    monkeypatch.setattr(matmul_backend, "is_built", lambda folder: built)
    monkeypatch.setattr(matmul_backend, "native_matmuls", lambda folder: {"float32": "f"})
    matmul_backend.matmul_calls(EngineConfig(), None, None, lambda *stage: told.append(stage))
    assert told == ([] if built else [("building kernels", 0, 1), ("building kernels", 1, 1)])
