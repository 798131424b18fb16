"""Parses the calls of Gemma 4 as they arrive, and converts their arguments to JSON."""

from __future__ import annotations

import json
import re

from jaxchat.chat.response.stop import held_back
from jaxchat.chat.tools.stream_parser import NAME, CallPart, Segment, StreamParser, Syntax
from jaxchat.chat.tools.value_text import LITERALS
from jaxchat.errors import reject_constant

QUOTE = '<|"|>'
_NAMED = re.compile(rf"\s*call:\s*({NAME})\s*\{{")
_ENDED = re.compile(r"\s*<tool_call\|>")
_MARK = re.compile(r"\s*([{}\[\],:])")
_WORD = re.compile(r"\s*([^\s,:{}\[\]\"<]+)(?=[\s,:{}\[\]])")
_QUOTED = re.compile(r'\s*("(?:[^"\\]|\\.)*")', re.DOTALL)
_BEGINS_TEXT = re.compile(r"\s*" + re.escape(QUOTE))
_JSON = {",": ", ", ":": ": "}


class Gemma4Parser(StreamParser):
    """A parser that splits text into content and calls as it arrives.

    The text must follow the grammar of the format, but may be cut off.
    """

    def __init__(self, opening: str, *, forced: bool) -> None:
        """Starts before the opening. With `forced`, only calls are expected: other text is not content."""
        super().__init__(self._content, forced=forced)
        self._opening = opening
        self._open: list[str] = []  # brackets that have not been closed
        self._at_key = False

    def _content(self, pieces: list[Segment]) -> bool:
        return self.take_content(self._opening, self._name, pieces)

    def _name(self, pieces: list[Segment]) -> bool:
        found = self.take(_NAMED, pieces)
        if found:
            self.begin_call(found[1], pieces)
            self._emit("{", pieces)
            self._open, self._at_key = ["{"], True
            self._step = self._arguments_step
        return bool(found)

    def _arguments_step(self, pieces: list[Segment]) -> bool:
        """Reads the next bracket, comma, colon, word, JSON string, or beginning of a string."""
        if found := self.take(_MARK, pieces):
            self._mark(found[1], pieces)
        elif self.take(_BEGINS_TEXT, pieces):
            self._emit('"', pieces)
            self._step = self._text
        elif found := self.take(_QUOTED, pieces):
            self._emit(found[1], pieces)
        elif found := self.take(_WORD, pieces):
            self._emit(json.dumps(found[1], ensure_ascii=False) if self._at_key else _value(found[1]), pieces)
        else:
            return False
        return True

    def _mark(self, mark: str, pieces: list[Segment]) -> None:
        if mark in "{[":
            self._open.append(mark)
        elif mark in "}]":
            self._open.pop()
        self._at_key = mark in "{," and self._open[-1:] == ["{"]
        self._emit(_JSON.get(mark, mark), pieces)
        if not self._open:
            self._step = self._close

    def _text(self, pieces: list[Segment]) -> bool:
        """Passes a string on as it arrives."""
        text, found, rest = self._held.partition(QUOTE)
        if not found:
            kept = held_back(text, (QUOTE,))
            text, rest = text[: len(text) - kept], text[len(text) - kept :]
        self._held = rest
        self._emit(json.dumps(text, ensure_ascii=False)[1:-1] + '"' * bool(found), pieces)
        pieces.append(Syntax(len(text) + len(found)))
        if found:
            self._step = self._arguments_step
        return bool(found)

    def _close(self, pieces: list[Segment]) -> bool:
        if not self.take(_ENDED, pieces):
            return False
        self.complete += 1
        self._step = self._content
        return True

    def _emit(self, arguments: str, pieces: list[Segment]) -> None:
        if arguments:
            pieces.append(CallPart(self._begun - 1, arguments))


def _value(word: str) -> str:
    """Returns a word as JSON: a number or a constant, otherwise a string."""
    if word in LITERALS:
        return json.dumps(LITERALS[word])
    try:
        json.loads(word, parse_constant=reject_constant)
    except (ValueError, RecursionError):
        return json.dumps(word, ensure_ascii=False)
    return word
