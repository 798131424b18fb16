"""The base class of parsers for answers: a state machine that splits text into segments as it arrives."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from jaxchat.chat.response.stop import held_back


@dataclass
class CallPart:
    """A part of a call. The first part has the name. Each part has the text of arguments since the previous part.

    Parsers leave `id` empty. `ChoiceBuilder` sets it in the first part.
    """

    index: int
    arguments: str = ""
    id: str = ""
    name: str = ""


class Syntax(int):
    """The length, in characters, of text that is not content, such as a marker or the arguments of a call."""


NAME = "[A-Za-z0-9_-]+"  # the pattern of a function's name
Segment = str | CallPart | Syntax
State = Callable[[list[Segment]], bool]
"""Moves pending text to segments. Returns False if it needs more text."""


class AnswerParser(Protocol):
    """A parser that splits the text of one answer into segments as it arrives."""

    @property
    def complete(self) -> int:
        """The number of calls that have ended."""

    def feed(self, text: str) -> list[Segment]:
        """Returns the segments that the new `text` completes, in order. Holds back text that is still ambiguous."""

    def flush(self) -> str:
        """Ends the answer. Returns the part of the held-back text that is content."""


class StreamParser:
    """A state machine that splits text into segments as it arrives. `complete` counts the calls that have ended."""

    def __init__(self, state: State, *, forced: bool) -> None:
        """Starts in `state`. With `forced`, the answer consists of calls only, so other text is not content."""
        self._step, self._forced = state, forced
        self._outside = state  # the state in which pending text is content
        self._held = ""
        self._begun = 0
        self._arguments = JsonEnd()
        self.complete = 0

    def feed(self, text: str) -> list[Segment]:
        """Returns the segments that the new `text` completes, in order."""
        self._held += text
        pieces: list[Segment] = []
        while self._step(pieces):
            pass
        return pieces

    def flush(self) -> str:
        """Ends the answer. Returns the part of the held-back text that is content."""
        text, self._held = self._held, ""
        return "" if self._forced or self._begun or self._step != self._outside else text

    def take(self, pattern: re.Pattern[str], pieces: list[Segment]) -> re.Match[str] | None:
        """Moves a match of `pattern` at the beginning of the pending text to `pieces`, as `Syntax`.

        Returns the match, or None if the pending text does not begin with a match.
        """
        found = pattern.match(self._held)
        if found:
            pieces.append(Syntax(found.end()))
            self._held = self._held[found.end() :]
        return found

    def pass_content(self, pieces: list[Segment]) -> bool:
        """Moves all pending text to `pieces`, as content. Returns False, because the state needs more text."""
        pieces.append(self._held)
        self._held = ""
        return False

    def leave_out(self, pieces: list[Segment]) -> bool:
        """Moves all pending text to `pieces`, as `Syntax`. Returns False, because the state needs more text.

        Use it as the state at places where the grammar does not allow text.
        """
        pieces.append(Syntax(len(self._held)))
        self._held = ""
        return False

    def begin_call(self, name: str, pieces: list[Segment]) -> None:
        """Appends the first part of a call of the function `name` to `pieces`."""
        pieces.append(CallPart(self._begun, name=name))
        self._begun += 1
        self._arguments = JsonEnd()

    def take_arguments(self, then: State, pieces: list[Segment]) -> bool:
        """Moves pending text of the arguments, a JSON object, to `pieces`. Enters the state `then` after the object.

        Returns whether the object has ended.
        """
        end = self._arguments.find(self._held)
        if end:
            pieces += [CallPart(self._begun - 1, self._held[:end]), Syntax(end)]
            self._held = self._held[end:]
        if self._arguments.ended:
            self._step = then
        return self._arguments.ended

    def take_content(self, opening: str, then: State, pieces: list[Segment]) -> bool:
        """Appends the pending text up to and including `opening` to `pieces`, then enters the state `then`.

        White space before `opening` is not content. While `opening` has not arrived, appends the content before it, but
        holds back trailing white space and text that may be the beginning of `opening`. Returns whether `opening` has
        arrived.
        """
        lead, opened, rest = self._held.partition(opening)
        text = lead.rstrip()
        if not opened:
            tag = held_back(lead, (opening,))
            text = lead[: len(lead) - tag].rstrip()
            pieces.append(text)
            self._held = lead[len(text) :]
            return False
        pieces += [text, Syntax(len(lead) - len(text) + len(opening))]
        self._held, self._step = rest, then
        return True

    def take_until(self, marker: str, then: State, pieces: list[Segment], *, visible: bool) -> bool:
        """Appends the pending text up to and including `marker` to `pieces`, then enters the state `then`.

        While `marker` has not arrived, appends the text before it, but holds back characters that may begin `marker`.

        Args:
            marker: the text after which the next state begins.
            then: the next state.
            pieces: receives the text and the marker.
            visible: whether the text before the marker is content. The marker itself is never content.

        Returns:
            Whether the marker has arrived.
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


class MarkerFilter(StreamParser):
    """A parser that converts markers to `Syntax`. All other text is content."""

    def __init__(self, markers: tuple[str, ...]) -> None:
        """Prepares the pattern of `markers`. Markers are recognised anywhere in the answer."""
        super().__init__(self._text, forced=False)
        self._markers = markers
        self._any = re.compile("|".join(re.escape(marker) for marker in markers))

    def _text(self, pieces: list[Segment]) -> bool:
        found = self._any.search(self._held)
        end = found.start() if found else len(self._held) - held_back(self._held, self._markers)
        pieces.append(self._held[:end])
        if found:
            pieces.append(Syntax(len(found[0])))
        self._held = self._held[found.end() if found else end :]
        return bool(found)


class ParserChain:
    """Two successive parsers. The first parser removes syntax from an answer. The second reads the remaining text."""

    def __init__(self, first: AnswerParser, second: AnswerParser | None) -> None:
        """Combines two parsers.

        Args:
            first: converts some text to `Syntax` and passes other text on.
            second: parses the text that `first` passes on; None if all of this text is content.
        """
        self._first, self._second = first, second

    @property
    def complete(self) -> int:
        """The number of calls that have ended."""
        return self._second.complete if self._second else 0

    def feed(self, text: str) -> list[Segment]:
        """Returns the segments that the new `text` completes, in order."""
        return [part for segment in self._first.feed(text) for part in self._read(segment)]

    def flush(self) -> str:
        """Ends the answer. Returns the part of the held-back text that is content."""
        text = "".join(part for part in self._read(self._first.flush()) if isinstance(part, str))
        return text + (self._second.flush() if self._second else "")

    def _read(self, segment: Segment) -> list[Segment]:
        return self._second.feed(segment) if self._second and isinstance(segment, str) else [segment]


def loose(parts: tuple[str, ...]) -> str:
    """Returns a pattern for the joined text of `parts`, with optional white space before it.

    White space inside the text matches any white space. The pattern is empty if the text is empty or white space only.
    """
    words = "".join(parts).split()
    return r"\s*" + r"\s+".join(re.escape(word) for word in words) if words else ""


_MARK = re.compile(r'[{}\[\]"\\]')
_ENDS_STRING = re.compile(r'["\\]')


class JsonEnd:
    """A scanner for the end of one JSON object that arrives in parts. Does not validate it."""

    def __init__(self) -> None:
        self._depth = 0
        self._quoted = False
        self._escaped = False
        self.ended = False

    def find(self, text: str) -> int:
        """Returns how many characters at the beginning of `text`, the next part, belong to the object.

        Sets `ended` if the object ends in `text`.
        """
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
