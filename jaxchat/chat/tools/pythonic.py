"""Formats that write calls as a Python list of calls: Llama 3.2 and 4 ("pythonic"), ToolACE and LFM2.

The values of arguments are JSON, with two exceptions. An argument that is `true`, `false` or `null` in JSON is written
as `True`, `False` or `None`. An argument that is a string may have single quotes. The exceptions do not apply inside
lists and objects.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from jaxchat.chat.grammar.json_schema.keywords import Schema, UnsupportedSchema
from jaxchat.chat.grammar.json_schema.kinds import kinds
from jaxchat.chat.grammar.lark import AnswerRules, LarkWriter
from jaxchat.chat.tools.answer_rules import answer_rules
from jaxchat.chat.tools.argument_order import argument_orders
from jaxchat.chat.tools.argument_schema import ArgumentSchema, argument_schema
from jaxchat.chat.tools.pythonic_parser import PythonicParser
from jaxchat.chat.tools.signatures import NO_SIGNATURES, Signatures
from jaxchat.chat.tools.value_text import LITERALS, read_arguments, valid_words, value_text

_PLAIN = r"[^'\\\x00-\x1f]"
_BARE = r"\s*\[[A-Za-z0-9_-]+\("


@dataclass(frozen=True, kw_only=True)
class PythonicFormat:
    """A format in which an answer with calls is a list such as `[f(a=1), g()]`.

    Args:
        opening: the text that begins the calls; empty if the list is the complete answer.
        markers: spellings of the tokens around calls. A tokenizer without such a token treats its spelling as text.
        after: parts after the list.
        shown: pattern that is found in the source of chat templates that use this format.
        id_length: number of letters and digits that the template requires in the id of a call; 0 for any.
    """

    opening: str = ""
    markers: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    shown: str
    id_length: int = 0

    def recognises(self, template: str) -> bool:
        """Returns whether a chat template shows calls in this format."""
        return bool(re.search(self.shown, template, re.DOTALL))

    def parser(self, *, callable: bool, forced: bool, signatures: Signatures = NO_SIGNATURES) -> PythonicParser | None:
        """Returns a new parser of one answer, or None if calls are not allowed."""
        return PythonicParser(self.opening, "".join(self.after), forced=forced) if callable else None

    def grammar(self, rules: AnswerRules, writer: LarkWriter) -> str | None:
        """Returns the Lark grammar of an answer that may call functions, or None for requests without functions.

        Raises:
            UnsupportedSchema: the arguments of a function cannot be written as keywords.
        """
        return "\n".join(self._rules(rules, writer)) if rules.most else None

    def write_calls(self, calls: Sequence[tuple[str, str]]) -> str:
        """Returns the text of an answer that consists of `calls`: pairs of a name and arguments as JSON text."""
        words = {json.dumps(value): word for word, value in LITERALS.items()}
        bodies = []
        for name, arguments in calls:
            values = {key: json.dumps(value, ensure_ascii=False) for key, value in read_arguments(arguments).items()}
            bodies.append(f"{name}({', '.join(f'{key}={words.get(text, text)}' for key, text in values.items())})")
        return "".join([self.opening, f"[{', '.join(bodies)}]", *self.after])

    def _rules(self, rules: AnswerRules, writer: LarkWriter) -> Iterator[str]:
        bare = "" if self.opening else _BARE
        yield from answer_rules(self.opening, rules, writer, markers=self.markers, bare=bare)
        if not rules.functions:
            return
        if self.opening:
            yield f"calls: {writer.spelled((self.opening,))} rest"
        indexes = range(len(rules.functions))
        more = f' (", " body){{0,{rules.most - 1}}}' if rules.most > 1 else ""
        yield f"{'rest' if self.opening else 'bare'}: first{more} {writer.spelled((']', *self.after))}"
        yield f"first: {' | '.join(f'first_{index}' for index in indexes)}"
        yield f"body: {' | '.join(f'call_{index}' for index in indexes)}"
        for index, (name, schema) in enumerate(rules.functions):
            # The bracket and the name are one lexeme, because the lexer cannot reinterpret text that it has matched.
            yield f'first_{index}: "[{name}(" order_{index} ")"'
            yield f'call_{index}: "{name}(" order_{index} ")"'
            yield from _arguments(f"order_{index}", argument_schema(schema), writer)


def _arguments(rule: str, arguments: ArgumentSchema, writer: LarkWriter) -> Iterator[str]:
    """Yields the rules of a call's arguments. Raises UnsupportedSchema if a name cannot be a keyword in Python."""
    names = list(arguments.members)
    for i, name in enumerate(names):
        if not re.fullmatch("[A-Za-z_][A-Za-z0-9_]*", name):
            raise UnsupportedSchema("#/properties", f"this model cannot write an argument with the name {name!r}.")
        yield f'{rule}_a{i}: "{name}=" {rule}_v{i}'
        yield f"{rule}_v{i}: {_value(arguments.members[name], arguments.definitions, writer, rule, i)}"
    yield from argument_orders(rule, names, arguments.required, comma=", ")


def _value(schema: Schema | bool, definitions: Schema, writer: LarkWriter, rule: str, number: int) -> str:
    """Returns a Lark expression for one value, followed by the rules that it refers to.

    Args:
        schema: the translated schema of the value.
        definitions: the targets of references, by name.
        writer: writes JSON schemas.
        rule: the beginning of the names of these rules.
        number: the number of the argument. It makes the names of these rules unique.
    """
    words = valid_words(schema, definitions)
    options = [json.dumps(word) for word in words]
    if not words or kinds(schema, definitions) - {"boolean", "null"}:
        document = schema if isinstance(schema, dict) else {}
        options.append(f"{rule}_j{number}\n{rule}_j{number}: {writer.json(document | {'$defs': definitions})}")
    quoted = value_text(schema, definitions)
    if quoted.texts is not None:
        options.append(f"{rule}_q{number}\n{_single_quoted(f'{rule}_q{number}', quoted.texts)}")
    return " | ".join(options)


def _single_quoted(rule: str, texts: tuple[str, ...]) -> str:
    """Returns the rules of a string in single quotes. A string that must match patterns is written without escapes."""
    terminal = rule.upper()
    chars = [rf"({_PLAIN}|\\['\"\\nrt])*"] if not texts else [f"{_PLAIN}*", *texts]
    quoted = f"{rule}: {terminal}\n{terminal}: /'/ {terminal}_S /'/"
    return "\n".join([quoted, f"{terminal}_S: {' & '.join(f'/{pattern}/' for pattern in chars)}"])


PYTHONIC = PythonicFormat(shown=r"^(?!.*<\|tool_call_start\|>).*\[func(?:tion)?_name1?\(")
LFM2 = PythonicFormat(
    opening="<|tool_call_start|>",
    markers=("<|tool_call_start|>", "<|tool_call_end|>"),
    after=("<|tool_call_end|>",),
    shown=r"<\|tool_(?:call|list)_start\|>",
)
