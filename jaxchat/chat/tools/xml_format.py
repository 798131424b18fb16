"""Formats in which each argument stands between two tags. One description makes the parser and the grammar."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from jaxchat.chat.grammar.lark import AnswerRules, LarkWriter
from jaxchat.chat.tools.answer_rules import write_around
from jaxchat.chat.tools.signatures import NO_SIGNATURES, Signatures
from jaxchat.chat.tools.value_text import plain, read_arguments
from jaxchat.chat.tools.xml_parser import XmlCallParser
from jaxchat.chat.tools.xml_rules import xml_rules


@dataclass(frozen=True, kw_only=True)
class XmlToolFormat:
    """A format in which a call is a tag with the function's name, and each argument stands between two tags.

    Texts are given in parts. A part that is also in `markers` may be a control token of the model.

    Args:
        opening: the text that begins the calls.
        markers: parts that may be control tokens.
        before: parts between the opening and the first name.
        name_end: parts after the name of a function.
        key: parts before the name of an argument.
        key_end: parts between the name of an argument and its value.
        kinds: two texts. The first is written between `key_end` and a string, and the second between `key_end` and any
            other value. None if the format has no such texts.
        value_end: the part that ends a value.
        after_value: parts after `value_end`.
        end: parts after the last argument.
        between: parts between two calls.
        after: parts after the last call.
        words: whether jaxchat writes true, false and null as `True`, `False` and `None`.
        padded: whether a line break before `value_end` is not part of the value.
        shown: pattern that is found in the source of chat templates that use this format.
        id_length: number of letters and digits that the template requires in the id of a call; 0 for any.
    """

    opening: str
    markers: tuple[str, ...]
    before: tuple[str, ...]
    name_end: tuple[str, ...]
    key: tuple[str, ...]
    key_end: tuple[str, ...]
    kinds: tuple[str, str] | None = None
    value_end: str
    after_value: tuple[str, ...]
    end: tuple[str, ...]
    between: tuple[str, ...]
    after: tuple[str, ...] = ()
    words: bool = False
    padded: bool = False
    shown: str = ""
    id_length: int = 0

    @property
    def next_texts(self) -> tuple[str, str]:
        """The text before the name of an argument, and the text at the end of a call.

        After a value and its `value_end`, one of these two texts must follow, possibly after white space. Otherwise the
        `value_end` is a part of the value.
        """
        return "".join(self.key), "".join(self.end).split()[0]

    def recognises(self, template: str) -> bool:
        """Returns whether a chat template shows calls in this format."""
        return bool(re.search(self.shown, template, re.DOTALL))

    def parser(self, *, callable: bool, forced: bool, signatures: Signatures = NO_SIGNATURES) -> XmlCallParser | None:
        """Returns a new parser of one answer, or None if calls are not allowed."""
        return XmlCallParser(self, signatures, forced=forced) if callable else None

    def grammar(self, rules: AnswerRules, writer: LarkWriter) -> str | None:
        """Returns the Lark grammar of an answer that may call functions, or None for requests without functions.

        Raises:
            UnsupportedSchema: the arguments of a function cannot be written one by one.
        """
        return "\n".join(xml_rules(self, rules, writer)) if rules.most else None

    def write_calls(self, calls: Sequence[tuple[str, str]]) -> str:
        """Returns the text of an answer that consists of `calls`: pairs of a name and arguments as JSON text."""
        return write_around(self, [self._written(name, arguments) for name, arguments in calls])

    def _written(self, name: str, arguments: str) -> str:
        parts = [name, *self.name_end]
        for key, value in read_arguments(arguments).items():
            kind = self.kinds[not isinstance(value, str)] if self.kinds else ""
            line = "\n" if self.padded else ""
            text = repr(value) if self.words and (value is None or isinstance(value, bool)) else plain(value)
            parts += [*self.key, key, *self.key_end, kind, text, line, self.value_end, *self.after_value]
        return "".join([*parts, *self.end])
