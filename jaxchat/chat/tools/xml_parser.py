"""Parses tool calls whose arguments stand between tags, as they arrive."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import TYPE_CHECKING

from jaxchat.chat.response.stop import held_back
from jaxchat.chat.tools.argument_schema import ArgumentSchema
from jaxchat.chat.tools.signatures import Signatures
from jaxchat.chat.tools.stream_parser import NAME, CallPart, Segment, StreamParser, Syntax, loose
from jaxchat.chat.tools.value_text import value_text

if TYPE_CHECKING:
    from jaxchat.chat.tools.xml_format import XmlToolFormat

BLANKS = " \t\r\n"
BLANK = r"[ \t\r\n]*"  # pattern of the white space between a value's end and the text that follows


class XmlCallParser(StreamParser):
    """A parser that splits text into content and calls as it arrives.

    The text must follow the grammar of the format, but may be cut off.
    """

    def __init__(self, tool_format: XmlToolFormat, signatures: Signatures, *, forced: bool) -> None:
        """Prepares the patterns of a format.

        Args:
            tool_format: the format.
            signatures: the arguments of the functions of the request.
            forced: whether the answer consists of calls only, so that other text is not content.
        """
        self._format, self._signatures = tool_format, signatures
        ended = _any(tool_format.name_end) if "".join(tool_format.name_end).strip() else r"(?=[^A-Za-z0-9_-])"
        self._named = re.compile(rf"{_any(tool_format.before)}({NAME}){ended}")
        marks = "|".join(re.escape(mark) for mark in tool_format.kinds or ())
        self._keyed = re.compile(rf"{_any(tool_format.key)}(.+?){_any(tool_format.key_end)}({marks})", re.DOTALL)
        self._ended, self._after = re.compile(_any(tool_format.end)), re.compile(_any(tool_format.after))
        self._marks = tool_format.kinds or ("", "")
        end = re.escape(tool_format.value_end)
        followed = "|".join(map(re.escape, tool_format.next_texts))
        self._text_end = re.compile(f"{end}(?={BLANK}(?:{followed}))")
        self._text_ended = re.compile(f"(.*?){self._text_end.pattern}", re.DOTALL)
        self._json_ended = re.compile(rf'((?:[^"]|"(?:[^"\\]|\\.)*")*?){end}', re.DOTALL)  # strings may contain the end
        self._line = "\n" if tool_format.padded else ""
        self._arguments_of = ArgumentSchema()
        self._value, self._repeated = value_text(True, {}), False
        self._keys: set[str] = set()
        super().__init__(self._content, forced=forced)

    def _content(self, pieces: list[Segment]) -> bool:
        return self.take_content(self._format.opening, self._name, pieces)

    def _name(self, pieces: list[Segment]) -> bool:
        found = self.take(self._named, pieces)
        if found:
            self.begin_call(found[1], pieces)
            self._arguments_of, self._keys = self._signatures.arguments(found[1]), set()
            self._step = self._key
        return bool(found)

    def _key(self, pieces: list[Segment]) -> bool:
        """Reads the next argument's name, or the end of the call."""
        found = self.take(self._keyed, pieces)
        if found:
            self._open(found[1], found[2], pieces)
            self._step = self._before_value if self._line else self._start
            return True
        if not self.take(self._ended, pieces):
            return False
        self._emit("}" if self._keys else "{}", pieces)
        self.complete += 1
        self._step = self._next if self._format.after else self._content
        return True

    def _next(self, pieces: list[Segment]) -> bool:
        """Reads the end of all calls, or the beginning of the next call."""
        if not self.take(self._after, pieces):
            return self._name(pieces)
        self._step = self._content
        return True

    def _open(self, key: str, mark: str, pieces: list[Segment]) -> None:
        schema = self._arguments_of.schema_of(key)
        self._repeated = key in self._keys  # the grammar cannot forbid to repeat an undeclared name
        self._value = value_text(schema or True, self._arguments_of.definitions)
        if mark:
            text = mark == self._marks[0]
            self._value = replace(self._value, texts=() if text else None, strings_only=text)
        if not self._repeated:
            self._emit(f"{', ' if self._keys else '{'}{json.dumps(key, ensure_ascii=False)}: ", pieces)
            self._keys.add(key)

    def _before_value(self, pieces: list[Segment]) -> bool:
        """Drops the line break before a value."""
        if not self._held:
            return False
        if self._held.startswith("\n"):
            pieces.append(Syntax(1))
            self._held = self._held[1:]
        self._step = self._start
        return True

    def _start(self, pieces: list[Segment]) -> bool:
        text = self._value.strings_only and not self._repeated
        self._emit('"' * text, pieces)
        self._step = self._text if text else self._typed
        return True

    def _text(self, pieces: list[Segment]) -> bool:
        """Passes a string on as it arrives."""
        found = self._text_end.search(self._held)
        size, end = found.span() if found else (self._decided(),) * 2
        text, self._held = self._held[:size], self._held[end:]
        value = text.removesuffix(self._line) if found else text
        self._emit(json.dumps(value, ensure_ascii=False)[1:-1] + '"' * bool(found), pieces)
        pieces.append(Syntax(end))
        if found:
            self._step = self._key
        return bool(found)

    def _decided(self) -> int:
        """Returns the number of pending characters that belong to the value, whatever text follows."""
        end = self._format.value_end
        last = self._held.rfind(end)
        rest = self._held[last + len(end) :].lstrip(BLANKS) if last >= 0 else ""
        if last >= 0 and any(text.startswith(rest) for text in self._format.next_texts):
            return last - len(self._line) * self._held.endswith(self._line, 0, last)
        return len(self._held) - held_back(self._held, (self._line + end, end))

    def _typed(self, pieces: list[Segment]) -> bool:
        """Passes a value on when it is complete, because its type is not known earlier."""
        found = (self._json_ended if self._value.texts is None else self._text_ended).match(self._held)
        if not found:
            return False
        if not self._repeated:
            self._emit(self._value.value(found[1].removesuffix(self._line)), pieces)
        pieces.append(Syntax(found.end()))
        self._held, self._step = self._held[found.end() :], self._key
        return True

    def _emit(self, arguments: str, pieces: list[Segment]) -> None:
        if arguments:
            pieces.append(CallPart(self._begun - 1, arguments))


def _any(parts: tuple[str, ...]) -> str:
    """Returns the pattern that `loose` makes of `parts`, or a pattern for optional white space if `parts` is empty."""
    return loose(parts) or r"\s*"
