"""Writes Lark rules for values that a format writes between its own delimiters."""

from __future__ import annotations

import json
from collections.abc import Iterator

from jaxchat.chat.grammar.lark import LarkWriter
from jaxchat.chat.tools.value_text import ValueText


def text_rules(rule: str, value: ValueText, end: str, writer: LarkWriter) -> Iterator[str]:
    """Yields `rule`, for a value that is written as plain text and followed by `end`, and the rules that it needs.

    Args:
        rule: name of the rule.
        value: the form of the value, with patterns of its text.
        end: the text after the value, which the value cannot contain.
        writer: writes control tokens.
    """
    terminal = rule.upper()
    parts = ["(?s:.*)", *(value.texts or ())]
    yield f"{terminal}_S: {' & '.join(f'/{part}/' for part in parts)} & ~/(?s:.*){writer.pattern(end)}(?s:.*)/"
    yield f"{terminal}: {' | '.join([f'{terminal}_S', *map(json.dumps, value.literals)])}"
    before, control = writer.split_opening(end)
    if not before:
        yield f"{rule}: {terminal}{'?' if value.may_be_empty else ''} {control}"
        return
    # Text and its end are one lexeme, because the lexer cannot reinterpret text that it has matched.
    yield f"{rule}{'' if control else '[lazy]'}: {terminal}_END {control}"
    yield f"{terminal}_END: {terminal} /{writer.pattern(before)}/"
