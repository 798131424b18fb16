"""Turns the rules of `structured_outputs` into rules of a grammar."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass

from jaxchat import v1
from jaxchat.chat.grammar.json_schema.patterns import rewrite
from jaxchat.chat.grammar.schema_source import SchemaSource, check_limits, request_schema
from jaxchat.chat.request.schema_text import parse_schema
from jaxchat.errors import ChatError, invalid, safe_repr

_LITERAL = re.compile(r'"(?:\\.|[^"\\])*"|//[^\n]*|#[^\n]*|/(?:\\.|[^/\\\n])+/')  # texts, patterns and comments
_TEMPERATURE = re.compile(r"\[[^\]]*\btemperature\s*=")
_TOKEN = re.compile(r"<[^>\s]*>")


@dataclass(frozen=True)
class LarkSource:
    """A rule for the whole text of an answer, and the request field that is named in errors about the rule.

    Attributes:
        expression: the rule as a Lark expression, for use in other rules.
        grammar: the rule as a complete grammar. If the client wrote the grammar, this is the text of the client, so
            that errors give positions in this text.
        param: the name of the request field.
    """

    expression: str
    grammar: str
    param: str

    def error(self, library_error: str) -> ChatError:
        """Returns the error 400 that a client gets for an error of the grammar library."""
        text = library_error.partition("<non-verbose")[0].strip()
        return invalid(self.param, f"cannot be enforced: {safe_repr(text)}.")


def structured_source(rules: v1.StructuredOutputs) -> LarkSource | SchemaSource:
    """Returns the source of a grammar for validated `structured_outputs`.

    Raises:
        ChatError: 400 if the schema, the regular expression or the grammar is invalid. The error names the field.
    """
    if rules.HasField("json"):
        param = "structured_outputs.json"
        check_limits(rules.json, param)
        return request_schema(parse_schema(rules.json, param), param)
    if rules.HasField("regex"):
        return _simple(f"/{_regex(rules.regex)}/", "structured_outputs.regex")
    if rules.HasField("grammar"):
        return _lark(rules.grammar, "structured_outputs.grammar")
    return _simple(_one_of(rules.choice), "structured_outputs.choice")


def _simple(expression: str, param: str) -> LarkSource:
    return LarkSource(expression, f"start: {expression}", param)


def _one_of(choices: Iterable[str]) -> str:
    # JSON leaves U+007F as it is, which the library does not read.
    literals = (json.dumps(choice, ensure_ascii=False).replace("\x7f", "\\u007f") for choice in dict.fromkeys(choices))
    return f"({' | '.join(literals)})"


def _regex(pattern: str) -> str:
    """Returns `pattern` in the syntax of the grammar library. The library matches whole texts, even without anchors.

    Raises:
        ChatError: 400 if the pattern is malformed or not supported.
    """
    try:
        return rewrite(pattern, in_json=False)
    except ValueError as error:
        raise invalid("structured_outputs.regex", f"pattern {safe_repr(pattern)}: {error}.") from None


def _lark(grammar: str, param: str) -> LarkSource:
    """Returns the source of a Lark grammar.

    Rejects control tokens, because some would end the answer within a rule. Rejects schemas in the grammar, because the
    library would not follow them exactly. Rejects temperatures of rules, because they would have no effect.

    Raises:
        ChatError: 400 on `param` for such a grammar.
    """
    rules = _LITERAL.sub('""', grammar)
    if token := _TOKEN.search(rules):
        raise invalid(param, f"a grammar cannot name control tokens, got {safe_repr(token[0])}.")
    if "%json" in rules:
        raise invalid(param, "a grammar cannot contain %json. Use structured_outputs.json.")
    if _TEMPERATURE.search(rules):
        raise invalid(param, "a rule cannot have a temperature. Use the field temperature.")
    return LarkSource(f"%lark {{\n{grammar}\n}}", grammar, param)
