"""Shows a streamed answer: text as it comes, thoughts dimmed or omitted, tool calls as `calls NAME(ARGUMENTS)`."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TextIO

from jaxchat.client import Delta, ToolCallDelta

Kind = Literal["thoughts", "text", "call"]
_STYLES = {"thoughts": "\x1b[2m", "text": "", "call": "\x1b[36m"}  # dim, plain, cyan
_PLAIN = "\x1b[0m"


@dataclass(frozen=True, kw_only=True)
class Display:
    """The kind of standard input and output, and the way in which an answer is shown."""

    interactive: bool = False  # a person types questions and reads answers at a terminal
    styled: bool = False  # escape sequences may be written
    thoughts: bool = False  # thoughts are shown

    @classmethod
    def detect(cls, environment: Mapping[str, str], *, thoughts: bool | None = None) -> Display:
        """Returns the display that fits this process.

        Args:
            environment: the environment variables. Only NO_COLOR and TERM are read.
            thoughts: whether thoughts are shown; None shows them at a terminal only.
        """
        terminal = sys.stdout.isatty()
        styled = terminal and not environment.get("NO_COLOR") and environment.get("TERM", "dumb") != "dumb"
        return cls(
            interactive=terminal and is_terminal_input(),
            styled=styled,
            thoughts=terminal if thoughts is None else thoughts,
        )


class AnswerPrinter:
    """A printer of one answer. Parts of another kind, such as text after thoughts, begin after a blank line.

    Args:
        display: how the answer is shown.
        out: receives the text, which is flushed after each addition.
    """

    def __init__(self, display: Display, out: TextIO) -> None:
        self._display = display
        self._out = out
        self._kind: Kind | None = None
        self._call: int | None = None  # number of the tool call that is open

    def show(self, delta: Delta) -> None:
        """Shows an addition to the answer."""
        if delta.reasoning_content and self._display.thoughts:
            self._write("thoughts", delta.reasoning_content)
        if delta.content:
            self._write("text", delta.content)
        for call in delta.tool_calls or ():
            self._show_call(call)
        self._out.flush()

    def end(self) -> None:
        """Ends the answer's last line."""
        self._close()
        self._out.write("\n")
        self._out.flush()

    def _show_call(self, call: ToolCallDelta) -> None:
        if call.index != self._call:
            if self._call is not None:
                self._out.write(")\n")
            self._write("call", f"calls {call.function.name or 'a function'}(")
            self._call = call.index
        self._write("call", call.function.arguments or "")

    def _write(self, kind: Kind, text: str) -> None:
        if kind != self._kind:
            self._close()
            if self._kind:
                self._out.write("\n\n")
                text = text.lstrip("\n")
            self._kind = kind
            if self._display.styled:
                self._out.write(_STYLES[kind])
        self._out.write(text)

    def _close(self) -> None:
        """Closes an open call, and returns to plain text."""
        if self._call is not None:
            self._out.write(")")
            self._call = None
        if self._kind and self._display.styled and _STYLES[self._kind]:
            self._out.write(_PLAIN)


def is_terminal_input() -> bool:
    """Returns whether standard input is a terminal."""
    return sys.stdin is not None and sys.stdin.isatty()


def piped_text() -> str:
    """Returns the text of standard input if that is a pipe or a file, otherwise "".

    Raises:
        ValueError: the input is not UTF-8 text.
    """
    try:
        mode = os.fstat(sys.stdin.fileno()).st_mode
    except (AttributeError, OSError, ValueError):  # closed, or replaced by an object without a file
        return ""
    if not (stat.S_ISFIFO(mode) or stat.S_ISREG(mode) or stat.S_ISSOCK(mode)):
        return ""
    try:
        return sys.stdin.buffer.read().decode("utf-8").strip("\n")
    except UnicodeDecodeError as error:
        raise ValueError(f"standard input is not UTF-8 text ({error.reason} at byte {error.start})") from None
