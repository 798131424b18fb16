"""What every parser of an answer's text is: a state that takes what it can from the text held so far."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from jaxchat.chat.jsonend import JsonEnd


@dataclass
class CallPart:
    """What is new of one call: id and name where it opens, and arguments as they were generated."""

    index: int
    arguments: str = ""
    id: str = ""
    name: str = ""


class Syntax(int):
    """So many characters that are neither content nor arguments to show."""


Piece = str | CallPart | Syntax
State = Callable[[list[Piece]], bool]
"""Takes some of the held text and adds what it is; False when it needs more."""


class Splitter:
    """Splits text into pieces as it comes. `complete` counts the calls that have ended."""

    def __init__(self, state: State, *, forced: bool) -> None:
        """`forced`: the answer is nothing but calls, so that what never became one is no content."""
        self._step, self._forced = state, forced
        self._held = ""
        self._begun = 0
        self._arguments = JsonEnd()
        self.complete = 0

    def feed(self, text: str) -> list[Piece]:
        """What the text turns out to be, in order."""
        self._held += text
        pieces: list[Piece] = []
        while self._step(pieces):
            pass
        return pieces
