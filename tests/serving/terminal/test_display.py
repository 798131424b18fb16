"""What the display writes to a terminal and to a pipe."""

from __future__ import annotations

import io
import os
from pathlib import Path

import pytest

from jaxchat.client import Delta
from jaxchat.v1 import Delta as DeltaProto
from serving.terminal.display import AnswerPrinter, Display, piped_text


class Screen(io.StringIO):
    """A stream that is a terminal."""

    def isatty(self) -> bool:
        return True


def printed(display: Display, *deltas: dict[str, str]) -> str:
    out = io.StringIO()
    printer = AnswerPrinter(display, out)
    for delta in deltas:
        printer.show(Delta.from_proto(DeltaProto(**delta)))
    printer.end()
    return out.getvalue()


ANSWER = ({"reasoning_content": "Hm"}, {"reasoning_content": "m."}, {"content": "\n\nYes"}, {"content": "."})


def test_thoughts_are_dimmed_at_a_terminal() -> None:
    assert printed(Display(styled=True, thoughts=True), *ANSWER) == "\x1b[2mHmm.\x1b[0m\n\nYes.\n"


def test_a_terminal_is_left_plain_if_an_answer_ends_amid_thoughts() -> None:
    assert printed(Display(styled=True, thoughts=True), ANSWER[0]) == "\x1b[2mHm\x1b[0m\n"


def test_a_pipe_gets_the_content_alone() -> None:
    assert printed(Display(), *ANSWER) == "\n\nYes.\n"


@pytest.mark.parametrize(
    ("terminal", "environment", "thoughts", "display"),
    [
        (True, {"TERM": "xterm"}, None, Display(interactive=True, styled=True, thoughts=True)),
        (True, {"TERM": "xterm"}, False, Display(interactive=True, styled=True)),
        (True, {"TERM": "xterm", "NO_COLOR": "1"}, None, Display(interactive=True, thoughts=True)),
        (True, {"TERM": "dumb"}, None, Display(interactive=True, thoughts=True)),
        (False, {"TERM": "xterm"}, None, Display()),
        (False, {}, True, Display(thoughts=True)),
    ],
)
def test_the_display_fits_the_process(monkeypatch, terminal, environment, thoughts, display) -> None:
    for name in ("stdin", "stdout"):
        monkeypatch.setattr(f"sys.{name}", Screen() if terminal else io.StringIO())
    assert Display.detect(environment, thoughts=thoughts) == display


@pytest.mark.parametrize(("content", "text"), [(b"a\nb\n\n", "a\nb"), (b"", ""), ("grün".encode(), "grün")])
def test_text_of_a_file_and_of_a_pipe(monkeypatch, tmp_path: Path, content: bytes, text: str) -> None:
    path = tmp_path / "input"
    path.write_bytes(content)
    with path.open() as file:
        monkeypatch.setattr("sys.stdin", file)
        assert piped_text() == text
    read, write = os.pipe()
    os.write(write, content)
    os.close(write)
    with open(read) as pipe:
        monkeypatch.setattr("sys.stdin", pipe)
        assert piped_text() == text


def test_devices_are_not_read_and_other_bytes_are_refused(monkeypatch, tmp_path: Path) -> None:
    with open(os.devnull) as nothing:
        monkeypatch.setattr("sys.stdin", nothing)
        assert piped_text() == ""
    monkeypatch.setattr("sys.stdin", None)
    assert piped_text() == ""
    path = tmp_path / "image"
    path.write_bytes(b"ab\xff")
    with path.open() as file:
        monkeypatch.setattr("sys.stdin", file)
        with pytest.raises(ValueError, match=r"not UTF-8 text \(invalid start byte at byte 2\)"):
            piped_text()
