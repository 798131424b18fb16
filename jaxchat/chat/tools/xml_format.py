"""Formats in which each argument stands between two tags. One description makes the parser and the grammar."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from jaxchat.chat.grammar.json_schema.keywords import UnsupportedSchema
from jaxchat.chat.grammar.lark import AnswerRules, LarkWriter
from jaxchat.chat.tools.answer_rules import answer_rules, call_rules, write_around
from jaxchat.chat.tools.argument_order import argument_orders
from jaxchat.chat.tools.argument_schema import ArgumentSchema, argument_schema, kinds
from jaxchat.chat.tools.signatures import NO_SIGNATURES, Signatures
from jaxchat.chat.tools.value_rules import text_rules
from jaxchat.chat.tools.value_text import ValueText, plain, read_arguments, valid_words, value_text
from jaxchat.chat.tools.xml_parser import XmlCallParser

MAX_OTHERS = 16  # undeclared arguments
_KEY = "[A-Za-z_][A-Za-z0-9_.-]{0,63}"


@dataclass(frozen=True, kw_only=True)
class XmlToolFormat:
    """A format in which a call is a tag with the function's name, and each argument stands between two tags.

    The text is given in parts. A part among `markers` is a control token in some models and ordinary text in others.

    Args:
        opening: the text that begins the calls.
        markers: parts that may be control tokens.
        before: parts between the opening and the first name.
        name_end: parts after the name of a function.
        key: parts before the name of an argument.
        key_end: parts between the name of an argument and its value.
        kinds: texts after `key_end` that mark the value as a string, and as another value; None without such marks.
        value_end: the part that ends a value.
        after_value: parts after `value_end`.
        end: parts after the last argument.
        between: parts between two calls.
        after: parts after the last call.
        words: whether past calls have `True`, `False` and `None` for constants.
        padded: whether a line break before `value_end` is not part of the value.
        shown: pattern that the source of a chat template of this format contains.
        id_length: number of letters and digits that the template requires in an id; 0 for any.
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

    def recognises(self, template: str) -> bool:
        """Returns whether a chat template shows calls in this format."""
        return bool(re.search(self.shown, template, re.DOTALL))

    def parser(self, *, callable: bool, forced: bool, signatures: Signatures = NO_SIGNATURES) -> XmlCallParser | None:
        """Returns a new parser of one answer, or None without calls."""
        return XmlCallParser(self, signatures, forced=forced) if callable else None

    def grammar(self, rules: AnswerRules, writer: LarkWriter) -> str | None:
        """Returns the Lark grammar of an answer that may call functions, or None for requests without functions.

        Raises:
            UnsupportedSchema: the arguments of a function cannot be written one by one.
        """
        return "\n".join(self._rules(rules, writer)) if rules.most else None

    def write_calls(self, calls: Sequence[tuple[str, str]]) -> str:
        """Returns the text of an answer that consists of calls, each a name and its arguments as JSON text."""
        return write_around(self, [self._written(name, arguments) for name, arguments in calls])

    def _written(self, name: str, arguments: str) -> str:
        parts = [name, *self.name_end]
        for key, value in read_arguments(arguments).items():
            kind = self.kinds[not isinstance(value, str)] if self.kinds else ""
            line = "\n" if self.padded else ""
            text = repr(value) if self.words and (value is None or isinstance(value, bool)) else plain(value)
            parts += [*self.key, key, *self.key_end, kind, text, line, self.value_end, *self.after_value]
        return "".join([*parts, *self.end])

    def _rules(self, rules: AnswerRules, writer: LarkWriter) -> Iterator[str]:
        yield from answer_rules(self.opening, rules, writer)
        yield from call_rules(self, rules, writer)
        for index, (name, schema) in enumerate(rules.functions):
            arguments = argument_schema(schema)
            yield f"call_{index}: {writer.spelled((name, *self.name_end))} order_{index} {writer.spelled(self.end)}"
            yield from _orders(f"order_{index}", arguments)
            yield from self._arguments(f"order_{index}", arguments, writer)

    def _arguments(self, prefix: str, arguments: ArgumentSchema, writer: LarkWriter) -> Iterator[str]:
        """Yields the rules of each argument, and of undeclared ones."""
        named = [(f"{prefix}_a{i}", name, schema) for i, (name, schema) in enumerate(arguments.members.items())]
        for rule, name, schema in named:
            self._check_name(name)
            key, after = writer.spelled((*self.key, name, *self.key_end)), writer.spelled(self.after_value)
            yield f"{rule}: {key} {rule}_v {after}"
            yield from self._value(f"{rule}_v", value_text(schema, arguments.definitions), writer)
        if arguments.others is not False:
            rule, after = f"{prefix}_other", writer.spelled(self.after_value)
            yield f"{rule}: {writer.spelled(self.key)} /{_KEY}/ {writer.spelled(self.key_end)} {rule}_v {after}"
            yield from self._value(f"{rule}_v", value_text(arguments.others, arguments.definitions), writer)

    def _check_name(self, name: str) -> None:
        end = "".join(self.key_end).split()[0]
        if not name or end[0] in name or name != name.strip():
            raise UnsupportedSchema("#/properties", f"this model cannot write an argument with the name {name!r}.")

    def _value(self, rule: str, value: ValueText, writer: LarkWriter) -> Iterator[str]:
        """Yields the rules of a value and its end."""
        if self.kinds:
            yield from self._marked_value(rule, value, writer, self.kinds)
        elif value.texts is None:
            yield from self._json(rule, value, writer)
        else:
            yield from text_rules(rule, value, self.value_end, writer, padded=self.padded)

    def _marked_value(self, rule: str, value: ValueText, writer: LarkWriter, marks: tuple[str, str]) -> Iterator[str]:
        """Yields the rules of a value with the text before it that marks its kind."""
        text, others = value.texts is not None, kinds(value.schema, value.definitions)
        options = []
        if text:
            others -= {"string"}
            options.append(f"{json.dumps(marks[0])} {rule}_s")
            yield from text_rules(f"{rule}_s", replace(value, literals=()), self.value_end, writer)
        if others:
            options.append(f"{json.dumps(marks[1])} {rule}_j")
            schema = {"allOf": [value.schema, {"type": sorted(others)}]} if text else value.schema
            yield from self._json(f"{rule}_j", replace(value, schema=schema), writer)
        yield f"{rule}: {' | '.join(options)}"

    def _json(self, rule: str, value: ValueText, writer: LarkWriter) -> Iterator[str]:
        """Yields the rules of a value that is JSON or a word of Python."""
        end = writer.spelled(("\n" if self.padded else "", self.value_end))
        schema = value.schema if isinstance(value.schema, dict) else {}
        words = [] if self.kinds else valid_words(value.schema, value.definitions)
        yield f"{rule}: ({' | '.join([f'{rule}_json', *map(json.dumps, words)])}) {end}"
        yield f"{rule}_json: {writer.json(schema | {'$defs': value.definitions})}"


def _orders(rule: str, arguments: ArgumentSchema) -> Iterator[str]:
    """Yields the rules of the sequence of arguments."""
    if arguments.others is not False:
        yield f"{rule}: {rule}_other{{0,{MAX_OTHERS}}}"
    else:
        yield from argument_orders(rule, list(arguments.members), arguments.required)
