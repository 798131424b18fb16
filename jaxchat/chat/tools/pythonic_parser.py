"""Parses calls that are written as a Python list, as their text arrives."""

from __future__ import annotations

import ast
import json
import re

from jaxchat.chat.tools.stream_parser import NAME, CallPart, Segment, StreamParser, Syntax
from jaxchat.chat.tools.value_text import LITERALS

_NAME = re.compile(r"\s*[\[,]\s*(" + NAME + r")\(")
_KEY = re.compile(r"\s*,?\s*([A-Za-z_][A-Za-z0-9_]*)\s*=\s*(?=\S)")
_END = re.compile(r"\s*\)")
_MAYBE = re.compile(r"\s*(?:\[\s*[A-Za-z0-9_-]*)?")


class PythonicParser(StreamParser):
    """A parser that splits text into content and calls as it arrives.

    The text must follow the grammar of the format, but may be cut off.
    """

    def __init__(self, opening: str, closing: str, *, forced: bool) -> None:
        """Starts before the opening, or before the list if `opening` is empty.

        Args:
            opening: the text before the list; may be empty.
            closing: the text after the list; may be empty.
            forced: whether the answer consists of calls only, so that other text is not content.
        """
        self._opening = opening
        self._close = re.compile(r"\s*\]\s*" + re.escape(closing))
        self._keys = 0
        super().__init__(self._content if opening else self._bare, forced=forced)

    def _content(self, pieces: list[Segment]) -> bool:
        return self.take_content(self._opening, self._next, pieces)

    def _bare(self, pieces: list[Segment]) -> bool:
        """Decides whether an answer consists of calls or of text, by its beginning."""
        if _NAME.match(self._held):
            self._step = self._next
            return True
        if _MAYBE.fullmatch(self._held):
            return False
        self._outside = self._step = self.pass_content
        return True

    def _next(self, pieces: list[Segment]) -> bool:
        """Reads the next name, or the end of the list."""
        found = self.take(_NAME, pieces)
        if found:
            self.begin_call(found[1], pieces)
            self._keys, self._step = 0, self._key
        elif self.take(self._close, pieces):
            self._step = self.leave_out
            return True
        return bool(found)

    def _key(self, pieces: list[Segment]) -> bool:
        """Reads the next argument's name, or the end of the call."""
        found = self.take(_KEY, pieces)
        if found:
            key = f"{', ' if self._keys else '{'}{json.dumps(found[1])}: "
            pieces.append(CallPart(self._begun - 1, key))
            self._keys += 1
            self._step = self._value
            return True
        if not self.take(_END, pieces):
            return False
        pieces.append(CallPart(self._begun - 1, "}" if self._keys else "{}"))
        self.complete += 1
        self._step = self._next
        return True

    def _value(self, pieces: list[Segment]) -> bool:
        end = _value_end(self._held)
        if end < 0:
            return False
        text = self._held[:end].strip()
        value = json.dumps(LITERALS[text]) if text in LITERALS else _as_json(text)
        pieces += [CallPart(self._begun - 1, value), Syntax(end)]
        self._held, self._step = self._held[end:], self._key
        return True


def _as_json(text: str) -> str:
    """Returns a value as JSON text. Converts a string in single quotes. Any other value is JSON already."""
    return json.dumps(ast.literal_eval(text), ensure_ascii=False) if text.startswith("'") else text


def _value_end(text: str) -> int:
    """Returns the position of the comma or parenthesis after a value, or -1 if neither has arrived."""
    depth, quote, escaped = 0, "", False
    for position, char in enumerate(text):
        if quote:
            quote, escaped = quote if escaped or char != quote else "", not escaped and char == "\\"
        elif char in "\"'":
            quote = char
        elif not depth and char in ",)":
            return position
        elif char in "[{]}":
            depth += 1 if char in "[{" else -1
    return -1
