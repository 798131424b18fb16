"""Parses tool calls that are JSON objects, as their text arrives."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from jaxchat.chat.tools.stream_parser import Segment, StreamParser, Syntax

if TYPE_CHECKING:
    from jaxchat.chat.tools.json_format import JsonToolFormat

NAME_KEY = ('"name"',)  # the first key of a call that no opening announces
TYPE = ('"type"', ":", '"function"')


def spaced(tokens: tuple[str, ...]) -> str:
    """Joins patterns of JSON tokens to a pattern that allows white space between the tokens."""
    return r"\s*".join(tokens)


class ToolCallParser(StreamParser):
    """A parser that splits text into content and calls as it arrives.

    The text must follow the grammar of the format, but may be cut off.
    """

    def __init__(self, tool_format: JsonToolFormat, *, forced: bool = False) -> None:
        """Prepares the patterns of `tool_format`. With `forced`, only calls are expected: other text is not content."""
        self._tool_format = tool_format
        bracket = r"\[\s*" if tool_format.bare and tool_format.before else ""
        self._brace = re.compile(rf"\s*{bracket}\{{\s*")
        self._blank = re.compile(rf"\s*(?:{bracket})?")
        self._heads = (NAME_KEY, (*TYPE, ",", *NAME_KEY)) if tool_format.typed else (NAME_KEY,)
        typed = rf"(?:{spaced(TYPE)}\s*,\s*)?" if tool_format.typed else ""
        own_id = rf'"{tool_format.id_before}"\s*:\s*"[^"\\]*"\s*,\s*' if tool_format.id_before else ""
        self._named = re.compile(rf'{tool_format.lead}\s*\{{\s*{typed}{own_id}"{tool_format.name}"\s*:\s*"([^"\\]+)"')
        self._given = re.compile(rf'\s*,\s*"{tool_format.arguments}"\s*:\s*(?=\{{)')
        own_id = rf'(?:\s*,\s*"{tool_format.id_after}"\s*:\s*"[^"\\]*")?' if tool_format.id_after else ""
        self._more, self._ended = re.compile(own_id + tool_format.more), re.compile(own_id + tool_format.ended)
        super().__init__(self._bare if tool_format.bare else self._content, forced=forced)

    def _content(self, pieces: list[Segment]) -> bool:
        if self._tool_format.opening:
            return self.take_content(self._tool_format.opening, self._name, pieces)
        return self.leave_out(pieces)  # after a list that is the complete answer

    def _bare(self, pieces: list[Segment]) -> bool:
        """Decides whether an answer begins with the opening, with a call without the opening, or with text.

        Returns False while the text that has arrived leaves this open.
        """
        opening = self._tool_format.opening
        if opening and self._held.startswith(opening):
            pieces.append(Syntax(len(opening)))
            self._held, self._step = self._held[len(opening) :], self._name
            return True
        brace = self._brace.match(self._held)
        begun = [_begins(self._held[brace.end() :], head) for head in self._heads] if brace else []
        if True in begun:
            self._step = self._name
            return True
        undecided = opening.startswith(self._held) or self._blank.fullmatch(self._held)
        if None in begun if brace else undecided:
            return False
        self._outside = self._step = self.pass_content
        return True

    def _name(self, pieces: list[Segment]) -> bool:
        found = self.take(self._named, pieces)
        if found:
            self.begin_call(found[1], pieces)
            self._step = self._before_arguments
        return bool(found)

    def _before_arguments(self, pieces: list[Segment]) -> bool:
        found = self.take(self._given, pieces)
        if found:
            self._step = self._inside_arguments
        return bool(found)

    def _inside_arguments(self, pieces: list[Segment]) -> bool:
        return self.take_arguments(self._close, pieces)

    def _close(self, pieces: list[Segment]) -> bool:
        more = self._tool_format.more and self.take(self._more, pieces)
        if not more and not self.take(self._ended, pieces):
            return False
        self.complete += 1
        self._step = self._name if more else self._content
        return True


def _begins(text: str, tokens: tuple[str, ...]) -> bool | None:
    """Returns whether `text` begins with `tokens`, ignoring white space; None if this depends on text still to come."""
    for token in tokens:
        text = text.lstrip()
        if not text.startswith(token):
            return None if token.startswith(text) else False
        text = text[len(token) :]
    return True
