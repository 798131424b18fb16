"""Writes Lark rules of calls whose arguments stand between tags.

A value ends at the first end tag that is followed by another argument or by the end of the call. A value that is the
text of a file may therefore contain the tag. The lexer cannot look ahead, so the rule of a value contains the text that
follows the value. For this reason, each argument has two rules: one rule if another argument follows, and one rule if
the end of the call follows.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from jaxchat.chat.grammar.json_schema.keywords import UnsupportedSchema
from jaxchat.chat.grammar.json_schema.kinds import kinds
from jaxchat.chat.grammar.lark import AnswerRules, LarkWriter
from jaxchat.chat.tools.answer_rules import answer_rules, call_rules, texts_of_calls
from jaxchat.chat.tools.argument_order import argument_orders
from jaxchat.chat.tools.argument_schema import ArgumentSchema, argument_schema
from jaxchat.chat.tools.value_text import ValueText, valid_words, value_text
from jaxchat.chat.tools.xml_parser import BLANK

if TYPE_CHECKING:
    from jaxchat.chat.tools.xml_format import XmlToolFormat

MAX_OTHERS = 16  # undeclared arguments
_KEY = "[A-Za-z_][A-Za-z0-9_.-]{0,63}"
_ANY = "(?s:.*)"


def xml_rules(tool_format: XmlToolFormat, rules: AnswerRules, writer: LarkWriter) -> Iterator[str]:
    """Yields the Lark rules of an answer that may call functions.

    Raises:
        UnsupportedSchema: the arguments of a function cannot be written one by one.
    """
    yield from answer_rules(tool_format.opening, rules, writer, markers=texts_of_calls(tool_format))
    yield from call_rules(tool_format, rules, writer)
    written = _Arguments(tool_format, writer)
    for index, (name, schema) in enumerate(rules.functions):
        arguments, order = argument_schema(schema), f"order_{index}"
        options = [] if arguments.required else [writer.spelled(tool_format.end)]
        if arguments.members or arguments.others is not False:
            options.append(f"{writer.spelled(tool_format.key)} {order}")
            yield from _orders(order, arguments)
            yield from written.rules(order, arguments)
        yield f"call_{index}: {writer.spelled((name, *tool_format.name_end))} ({' | '.join(options)})"


def _orders(rule: str, arguments: ArgumentSchema) -> Iterator[str]:
    """Yields the rules of a sequence of at least one argument, without the text before the first name."""
    if arguments.others is not False:
        yield f"{rule}: {rule}_other_next{{0,{MAX_OTHERS - 1}}} {rule}_other_last"
    else:
        yield from argument_orders(rule, list(arguments.members), arguments.required, linked=True)


@dataclass(frozen=True)
class _Arguments:
    """A writer of the rules of each argument, from its name to the text that follows its value."""

    form: XmlToolFormat
    writer: LarkWriter

    def rules(self, prefix: str, arguments: ArgumentSchema) -> Iterator[str]:
        """Yields the rules of each declared argument, and of undeclared arguments.

        Raises:
            UnsupportedSchema: the format cannot write the name of an argument.
        """
        named = {f"{prefix}_a{i}": (name, schema) for i, (name, schema) in enumerate(arguments.members.items())}
        for rule, (name, schema) in named.items():
            self._check_name(name)
            key = self.writer.spelled((name, *self.form.key_end))
            yield from self._argument(rule, key, value_text(schema, arguments.definitions))
        if arguments.others is not False:
            key = f"/{_KEY}/ {self.writer.spelled(self.form.key_end)}"
            yield from self._argument(f"{prefix}_other", key, value_text(arguments.others, arguments.definitions))

    def _check_name(self, name: str) -> None:
        end = "".join(self.form.key_end).split()[0]
        if not name or end[0] in name or name != name.strip():
            raise UnsupportedSchema("#/properties", f"this model cannot write an argument with the name {name!r}.")

    def _argument(self, rule: str, key: str, value: ValueText) -> Iterator[str]:
        for suffix, follows in (("next", "".join(self.form.key)), ("last", "".join(self.form.end))):
            yield f"{rule}_{suffix}: {key} {rule}_{suffix}_v"
            yield from self._value(f"{rule}_{suffix}_v", value, follows)

    def _value(self, rule: str, value: ValueText, follows: str) -> Iterator[str]:
        """Yields the rules of a value, its end and the text `follows`."""
        if self.form.kinds:
            yield from self._marked_value(rule, value, follows, self.form.kinds)
        elif value.texts is None:
            yield from self._json(rule, value, follows)
        else:
            yield from self._text(rule, value, follows)

    def _marked_value(self, rule: str, value: ValueText, follows: str, marks: tuple[str, str]) -> Iterator[str]:
        """Yields the rules of a value and of a text before the value. This text tells strings from other values."""
        text, others = value.texts is not None, kinds(value.schema, value.definitions)
        options = []
        if text:
            others -= {"string"}
            options.append(f"{json.dumps(marks[0])} {rule}_s")
            yield from self._text(f"{rule}_s", replace(value, literals=()), follows)
        if others:
            options.append(f"{json.dumps(marks[1])} {rule}_j")
            schema = {"allOf": [value.schema, {"type": sorted(others)}]} if text else value.schema
            yield from self._json(f"{rule}_j", replace(value, schema=schema), follows)
        yield f"{rule}: {' | '.join(options)}"

    def _json(self, rule: str, value: ValueText, follows: str) -> Iterator[str]:
        """Yields the rules of a value that is JSON or a word of Python."""
        line = "\n" if self.form.padded else ""
        end = self.writer.spelled((line, self.form.value_end, *self.form.after_value, follows))
        schema = value.schema if isinstance(value.schema, dict) else {}
        words = [] if self.form.kinds else valid_words(value.schema, value.definitions)
        yield f"{rule}: ({' | '.join([f'{rule}_json', *map(json.dumps, words)])}) {end}"
        yield f"{rule}_json: {self.writer.json(schema | {'$defs': value.definitions})}"

    def _text(self, rule: str, value: ValueText, follows: str) -> Iterator[str]:
        """Yields the rules of a value that is plain text."""
        terminal = rule.upper()
        parts = [_ANY, *(value.texts or ())]
        followed = f"{BLANK}({'|'.join(map(self.writer.pattern, self.form.next_texts))}){_ANY}"
        ended = f"{_ANY}{self.writer.pattern(self.form.value_end)}{followed}"
        yield f"{terminal}_S: {' & '.join(f'/{part}/' for part in parts)} & ~/{ended}/"
        yield f"{terminal}: {' | '.join([f'{terminal}_S', *map(json.dumps, value.literals)])}"
        end, control = self.writer.split_opening(self.form.value_end)
        if control:
            yield from self._control_end(rule, value, (end, control, followed), follows)
            return
        after, control = self.writer.split_opening(follows)
        # Text and what ends it are one lexeme, because the lexer cannot reinterpret text that it has matched.
        line = r"\n?" if self.form.padded else ""
        yield f"{rule}: {rule}_end {control}"
        yield f"{rule}_end{'[lazy]' if after or not control else ''}: {terminal}_END"
        yield f"{terminal}_END: {terminal} /{line}{self.writer.pattern(end)}{BLANK}{self.writer.pattern(after)}/"

    def _control_end(self, rule: str, value: ValueText, ends: tuple[str, str, str], follows: str) -> Iterator[str]:
        """Yields the rules of a plain text and its end tag, for an end tag that contains a control token.

        If the text must match a pattern, the text may not contain the end tag, because a pattern cannot match control
        tokens. Otherwise the text may contain the end tag at places where neither another argument nor the end of the
        call follows.
        """
        terminal, (end, control, followed) = rule.upper(), ends
        tag = f"/{self.writer.pattern(end)}/" if end else ""
        first = f"{terminal}_E" if end else f"{terminal}{'?' if value.may_be_empty else ''}"
        if end:
            yield f"{terminal}_E: {terminal} {tag}"
        again = ""
        if value.may_be_empty:
            again = f"({terminal}_AGAIN{'' if end else '?'} {control})*"
            yield f"{terminal}_AGAIN: {terminal}_R {tag}"
            yield f"{terminal}_R: {terminal}_S & ~/{followed}/"
        after, then = self.writer.split_opening(follows)
        blank = f"{terminal}_AFTER" if after else f"{terminal}_AFTER?"
        yield (
            f"{terminal}_AFTER: /{BLANK}{self.writer.pattern(after)}/"
            if after
            else f"{terminal}_AFTER: /{BLANK[:-1]}+/"
        )
        yield f"{rule}: {first} {control} {again} {blank} {then}"
