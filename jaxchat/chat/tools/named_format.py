"""Formats in which a call is the name of a function, followed by a JSON object of arguments."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from jaxchat.chat.grammar.json_schema.objects import in_any_order
from jaxchat.chat.grammar.lark import AnswerRules, LarkWriter
from jaxchat.chat.tools.answer_rules import answer_rules, call_rules, texts_of_calls, write_around
from jaxchat.chat.tools.signatures import NO_SIGNATURES, Signatures
from jaxchat.chat.tools.stream_parser import NAME, Segment, StreamParser, loose
from jaxchat.chat.tools.value_text import read_arguments


@dataclass(frozen=True, kw_only=True)
class NamedToolFormat:
    """A format in which a call is a name, a separator and a JSON object of arguments.

    Texts are given in parts. A part that is also in `markers` may be a control token of the model.

    Args:
        opening: the text that begins the calls.
        markers: parts that may be control tokens.
        before: parts between the opening and the first call.
        label: text that jaxchat writes at the beginning of each call; empty for formats without such a label.
        label_form: pattern of the labels that a model may write.
        label_end: parts between the label and the name.
        separator: parts between a name and its arguments.
        number: text between a name and an id that the model writes for the call; empty for formats without ids.
        number_form: pattern of the ids that the model writes.
        number_digits: minimum number of digits in the ids that jaxchat writes.
        indent: spaces that jaxchat adds to each line of arguments after the first; empty to write them on one line.
        end: parts after the arguments.
        between: parts between the end of a call and the next call.
        after: parts after the end of the last call.
        shown: pattern that is found in the source of chat templates that use this format.
        id_length: number of letters and digits that the template requires in the id of a call; 0 for any.
    """

    opening: str
    markers: tuple[str, ...]
    before: tuple[str, ...] = ()
    label: str = ""
    label_form: str = NAME
    label_end: tuple[str, ...] = ()
    separator: tuple[str, ...]
    number: str = ""
    number_form: str = "[0-9]{1,4}"
    number_digits: int = 1
    indent: str = ""
    end: tuple[str, ...] = ()
    between: tuple[str, ...]
    after: tuple[str, ...] = ()
    shown: str
    id_length: int = 0

    def recognises(self, template: str) -> bool:
        """Returns whether a chat template shows calls in this format."""
        return bool(re.search(self.shown, template, re.DOTALL))

    def parser(self, *, callable: bool, forced: bool, signatures: Signatures = NO_SIGNATURES) -> NamedCallParser | None:
        """Returns a new parser of one answer, or None if calls are not allowed."""
        return NamedCallParser(self, forced=forced) if callable else None

    def grammar(self, rules: AnswerRules, writer: LarkWriter) -> str | None:
        """Returns the Lark grammar of an answer that may call functions, or None for requests without functions."""
        return "\n".join(self._rules(rules, writer)) if rules.most else None

    def write_calls(self, calls: Sequence[tuple[str, str]]) -> str:
        """Returns the text of an answer that consists of `calls`: pairs of a name and arguments as JSON text."""
        bodies = []
        for place, (name, arguments) in enumerate(calls):
            number = f"{self.number}{place:0{self.number_digits}}" if self.number else ""
            if self.indent:
                arguments = json.dumps(read_arguments(arguments), indent=4, ensure_ascii=False)
                arguments = arguments.replace("\n", f"\n{self.indent}")
            head = [self.label, *self.label_end, name, number]
            bodies.append("".join([*head, *self.separator, arguments, *self.end]))
        return write_around(self, bodies)

    def _rules(self, rules: AnswerRules, writer: LarkWriter) -> Iterator[str]:
        markers = (*texts_of_calls(self), "".join(self.end).strip())
        yield from answer_rules(self.opening, rules, writer, markers=markers)
        yield from call_rules(self, rules, writer)
        number = f" /{self.number_form}/" if self.number else ""
        label = f"/{self.label_form}/ " if self.label else ""
        for index, (name, schema) in enumerate(rules.functions):
            head = label + writer.spelled((*self.label_end, name, self.number))
            separator = writer.spelled(self.separator)
            yield f"call_{index}: {head}{number} {separator} arguments_{index} {writer.spelled(self.end)}"
            yield f"arguments_{index}: {writer.json(in_any_order(schema))}"


class NamedCallParser(StreamParser):
    """A parser that splits text into content and calls as it arrives.

    The text must follow the grammar of the format, but may be cut off.
    """

    def __init__(self, tool_format: NamedToolFormat, *, forced: bool) -> None:
        """Prepares the patterns of `tool_format`. With `forced`, only calls are expected: other text is not content."""
        self._opening = tool_format.opening
        number = re.escape(tool_format.number) + tool_format.number_form if tool_format.number else ""
        label = tool_format.label_form + loose(tool_format.label_end) + r"\s*" if tool_format.label else ""
        head = rf"{label}({NAME}){number}{loose(tool_format.separator)}\s*(?=\{{)"
        self._first, self._other = (
            re.compile(loose(parts) + r"\s*" + head) for parts in (tool_format.before, tool_format.between)
        )
        self._end, self._after = re.compile(loose(tool_format.end)), re.compile(loose(tool_format.after))
        self._closes = bool("".join(tool_format.after))
        self._repeats = tool_format.opening not in tool_format.between
        super().__init__(self._content, forced=forced)

    def _content(self, pieces: list[Segment]) -> bool:
        return self.take_content(self._opening, self._name, pieces)

    def _name(self, pieces: list[Segment]) -> bool:
        return self._call(self._first, pieces)

    def _call(self, head: re.Pattern[str], pieces: list[Segment]) -> bool:
        found = self.take(head, pieces)
        if found:
            self.begin_call(found[1], pieces)
            self._step = self._inside_arguments
        return bool(found)

    def _inside_arguments(self, pieces: list[Segment]) -> bool:
        return self.take_arguments(self._close, pieces)

    def _close(self, pieces: list[Segment]) -> bool:
        if not self.take(self._end, pieces):
            return False
        self.complete += 1
        self._step = self._next if self._repeats else self._content
        return True

    def _next(self, pieces: list[Segment]) -> bool:
        """Reads the next call, or the end of all calls."""
        if self._call(self._other, pieces):
            return True
        if not self._closes or not self.take(self._after, pieces):
            return False
        self._step = self._content
        return True
