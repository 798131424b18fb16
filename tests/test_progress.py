"""Bars while a model loads: where somebody watches, and nowhere else."""

from __future__ import annotations

import io
import sys
from types import SimpleNamespace

import pytest

from jaxchat.progress import is_interactive, loading_report


class Terminal(io.StringIO):
    """Standard error that is a terminal."""

    def isatty(self) -> bool:
        return True


def load(progress) -> None:
    with loading_report(progress) as report:
        for stage, total in (("loading weights", 3), ("compiling programs", 4)):
            for done in range(total + 1):
                report(stage, done, total)


def test_a_terminal_shows_a_bar_for_each_stage(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stderr", terminal := Terminal())
    load(True)
    shown = terminal.getvalue()
    assert "Loading weights: 100%" in shown and "3/3" in shown
    assert "First start: compiling programs" in shown and "4/4" in shown


def test_nothing_is_shown_where_nobody_watches(capsys: pytest.CaptureFixture) -> None:
    load(True)
    assert capsys.readouterr() == ("", "")


def test_it_can_be_turned_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stderr", terminal := Terminal())
    load(False)
    assert terminal.getvalue() == ""


def test_a_function_gets_the_reports() -> None:
    reports = []
    load(lambda *report: reports.append(report))
    assert reports[0] == ("loading weights", 0, 3) and reports[-1] == ("compiling programs", 4, 4)


@pytest.mark.parametrize(("shell", "watched"), [(SimpleNamespace(kernel=1), True), (SimpleNamespace(), False)])
def test_a_notebook_is_watched_and_a_plain_shell_is_not(monkeypatch, shell, watched) -> None:
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))
    monkeypatch.setattr("sys.stderr", io.StringIO())
    assert is_interactive() == watched
