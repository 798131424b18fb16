"""What every parser of an answer's text is: a state that takes what it can from the text held so far."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from jaxchat.chat.response.stop import held_back


@dataclass
class CallPart:
    """What is new of one call: id and name where it opens, and arguments as they were generated."""

    index: int
    arguments: str = ""
    id: str = ""
    name: str = ""


class Syntax(int):
    """So many characters that are neither content nor arguments to show."""


Segment = str | CallPart | Syntax
State = Callable[[list[Segment]], bool]
"""Takes some of the held text and adds what it is; False when it needs more."""


class AnswerParser(Protocol):
    """Splits the text of one answer into segments as it comes."""

    @property
    def complete(self) -> int:
        """The number of calls that have ended."""

    def feed(self, text: str) -> list[Segment]:
        """Returns what the text turns out to be, in order; holds back what is not decided yet."""

    def flush(self) -> str:
        """Returns, at the end of the answer, held text that is content after all."""


class StreamParser:
    """Splits text into pieces as it comes: a state machine. `complete` counts the calls that have ended."""

    def __init__(self, state: State, *, forced: bool) -> None:
        """`forced`: the answer is nothing but calls, so that what never became one is no content."""
        self._step, self._forced = state, forced
        self._held = ""
        self._begun = 0
        self._arguments = JsonEnd()
        self.complete = 0

    def feed(self, text: str) -> list[Segment]:
        """What the text turns out to be, in order."""
        self._held += text
        pieces: list[Segment] = []
        while self._step(pieces):
            pass
        return pieces

    def flush(self) -> str:
        """Returns, at the end of the answer, held text that is content after all."""
        raise NotImplementedError

    def take_until(self, marker: str, then: State, pieces: list[Segment], *, visible: bool) -> bool:
        """Takes the held text up to a marker, and the marker, after which the parser is in the state `then`.

        While the marker has not come, takes all but what may be its beginning.

        Args:
            marker: ends this part of the answer.
            then: the next state.
            pieces: gets the text and the marker.
            visible: whether the text is content; the marker never is.

        Returns:
            Whether the marker has come.
        """
        text, found, rest = self._held.partition(marker)
        if not found:
            kept = held_back(text, (marker,))
            text, rest = text[: len(text) - kept], text[len(text) - kept :]
        pieces.append(text if visible else Syntax(len(text)))
        self._held = rest
        if found:
            pieces.append(Syntax(len(marker)))
            self._step = then
        return bool(found)


_MARK = re.compile(r'[{}\[\]"\\]')
_ENDS_STRING = re.compile(r'["\\]')


class JsonEnd:
    """Follows one object, text by text, without judging it."""

    def __init__(self) -> None:
        self._depth = 0
        self._quoted = False
        self._escaped = False
        self.ended = False

    def find(self, text: str) -> int:
        """How many of the characters that come next belong to the object; sets `ended` at its last one."""
        at = 0
        while at < len(text) and not self.ended:
            if self._escaped:
                self._escaped = False
                at += 1
                continue
            mark = (_ENDS_STRING if self._quoted else _MARK).search(text, at)
            if not mark:
                return len(text)
            at = mark.end()
            self._take(mark[0])
        return at

    def _take(self, mark: str) -> None:
        if mark == '"':
            self._quoted = not self._quoted
        elif mark == "\\":
            self._escaped = True
        else:
            self._depth += 1 if mark in "{[" else -1
            self.ended = self._depth == 0
