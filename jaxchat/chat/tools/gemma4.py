"""The format of Gemma 4: calls such as `<|tool_call>call:f{city:<|"|>Oslo<|"|>,days:3}<tool_call|>`.

Strings stand between two `<|"|>`. Keys are not quoted. No spaces follow commas and colons. The chat template sorts
keys.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from jaxchat.chat.grammar.lark import AnswerRules, LarkWriter
from jaxchat.chat.tools.answer_rules import answer_rules, call_rules, write_around
from jaxchat.chat.tools.argument_order import argument_orders
from jaxchat.chat.tools.argument_schema import ArgumentSchema, argument_schema
from jaxchat.chat.tools.gemma4_parser import QUOTE, Gemma4Parser
from jaxchat.chat.tools.gemma4_values import KEY, ValueRules
from jaxchat.chat.tools.signatures import NO_SIGNATURES, Signatures
from jaxchat.chat.tools.value_text import read_arguments

MAX_OTHERS = 16  # undeclared arguments


@dataclass(frozen=True, kw_only=True)
class Gemma4Format:
    """The format of Gemma 4. Values that its own syntax cannot express are written as JSON."""

    opening: str = "<|tool_call>"
    markers: tuple[str, ...] = ("<|tool_call>", "<tool_call|>", QUOTE)
    before: tuple[str, ...] = ("call:",)
    between: tuple[str, ...] = ("<|tool_call>", "call:")
    after: tuple[str, ...] = ()
    id_length: int = 0

    def recognises(self, template: str) -> bool:
        """Returns whether a chat template writes calls in this format."""
        return "<|tool_call>call:" in template

    def parser(self, *, callable: bool, forced: bool, signatures: Signatures = NO_SIGNATURES) -> Gemma4Parser | None:
        """Returns a new parser of one answer, or None if calls are not allowed."""
        return Gemma4Parser(self.opening, forced=forced) if callable else None

    def grammar(self, rules: AnswerRules, writer: LarkWriter) -> str | None:
        """Returns the Lark grammar of an answer that may call functions, or None for requests without functions.

        Raises:
            UnsupportedSchema: the arguments of a function cannot be written one by one.
        """
        return "\n".join(self._rules(rules, writer)) if rules.most else None

    def write_calls(self, calls: Sequence[tuple[str, str]]) -> str:
        """Returns the text of an answer that consists of `calls`: pairs of a name and arguments as JSON text."""
        bodies = (f"{name}{_written(read_arguments(arguments))}<tool_call|>" for name, arguments in calls)
        return write_around(self, [*bodies])

    def _rules(self, rules: AnswerRules, writer: LarkWriter) -> Iterator[str]:
        yield from answer_rules(self.opening, rules, writer, markers=self.markers)
        yield from call_rules(self, rules, writer)
        for index, (name, schema) in enumerate(rules.functions):
            end = writer.spelled(("}", "<tool_call|>"))
            yield f"call_{index}: {json.dumps(name + '{')} order_{index} {end}"
            yield from _arguments(f"order_{index}", argument_schema(schema), writer)


GEMMA4 = Gemma4Format()


def _arguments(rule: str, arguments: ArgumentSchema, writer: LarkWriter) -> Iterator[str]:
    """Yields the rules of a call's arguments."""
    values = ValueRules(rule, arguments.definitions, writer)
    if arguments.others is not False:
        yield f'{rule}: ({rule}_other ("," {rule}_other){{0,{MAX_OTHERS - 1}}})?'
        yield f'{rule}_other: /{KEY}/ ":" {rule}_other_v'
        yield from values.rules(f"{rule}_other_v", arguments.others)
    else:
        names = sorted(arguments.members, key=str.lower)
        yield from argument_orders(rule, names, arguments.required, comma=",")
        for place, name in enumerate(names):
            yield f"{rule}_a{place}: {values.key(name)} {rule}_v{place}"
            yield from values.rules(f"{rule}_v{place}", arguments.members[name])
    yield from values.definition_rules()


def _written(value: Any) -> str:
    """Returns a value as the chat template of Gemma 4 writes it. A text that contains `<|"|>` becomes JSON."""
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False) if QUOTE in value else f"{QUOTE}{value}{QUOTE}"
    if isinstance(value, dict):
        members = sorted(value.items(), key=lambda member: member[0].lower())
        return f"{{{','.join(f'{_key(key)}:{_written(item)}' for key, item in members)}}}"
    if isinstance(value, list):
        return f"[{','.join(map(_written, value))}]"
    return "None" if value is None else json.dumps(value)


def _key(key: str) -> str:
    return key if re.fullmatch(KEY, key) else json.dumps(key, ensure_ascii=False)
