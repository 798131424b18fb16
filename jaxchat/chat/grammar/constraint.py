"""All that a request asks of the form of its answers."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

from llguidance import LLMatcher

from jaxchat import v1
from jaxchat.chat.grammar.lark import AnswerRules, LarkWriter
from jaxchat.chat.grammar.schema_source import (
    ANY_OBJECT,
    ANY_VALUE,
    SchemaSource,
    check_limits,
    given_schema,
    known_schema,
)
from jaxchat.chat.grammar.tool_calls import Calls, asked_calls
from jaxchat.chat.request.schema_text import parse_schema
from jaxchat.chat.request.tool_choice import ToolChoice
from jaxchat.chat.request.validate_fields import check_name
from jaxchat.chat.tools.format import ToolFormat
from jaxchat.errors import ChatError, invalid, safe_repr

OPTIONS: Any = {
    # Between tokens: one space, or one line break and some indentation.
    "whitespace_pattern": r"\n[ \t]{0,20}| ",
    # \u escapes, those of surrogates in pairs only.
    "json_allow_general_unicode_escapes": True,
}
ErrorOf = Callable[[str], str]


@dataclass(frozen=True)
class OutputConstraint:
    """The schema of an answer in text, and what calls it may hold. Equal ones have the same grammar."""

    answer: SchemaSource | None = None
    calls: Calls | None = None

    @property
    def param(self) -> str:
        """The field that asks for most of it."""
        return self.calls.param if self.calls else "response_format"

    def grammar(self, error_of: ErrorOf | None, tool_format: ToolFormat, writer: LarkWriter) -> str:
        """Returns the grammar in the grammar library's own form.

        Args:
            error_of: tries a grammar and returns its error; None where this one is known to be good.
            tool_format: how the model writes calls, and answers without any.
            writer: of the model's control tokens.

        Raises:
            ChatError: 400 naming the field at fault.
        """
        answer = _translated(self.answer, "", error_of) if self.answer else None
        if self.calls is None:
            framed = tool_format.grammar(AnswerRules(answer=answer), writer)
            return _of_schema(answer or {}) if framed is None else _of_lark(framed)
        schemas = enumerate(self.calls.arguments)
        arguments = [_translated(schema, f"t{i}_", error_of) for i, schema in schemas]
        rules = self.calls.rules(arguments, answer)
        if error_of and not all(schema.harmless for schema in self.calls.arguments):
            # A trial walks along some answer; here it must not get lost in text.
            forced = replace(rules, mode="required", answer=None)
            if error := error_of(_of_lark(tool_format.grammar(forced, writer) or "")):
                raise together(self.param, error)
        return _of_lark(tool_format.grammar(rules, writer) or "")


def output_constraint(request: v1.ChatCompletionRequest, tool_choice: ToolChoice) -> OutputConstraint | None:
    """Returns what a request asks of the form of its answers, None for any text. Raises `ChatError` 400."""
    answer, calls = asked_schema(request), asked_calls(tool_choice)
    if answer and calls and calls.mode == "none":
        return OutputConstraint(answer)
    return OutputConstraint(answer, calls) if answer or calls else None


def together(param: str, error: str) -> ChatError:
    """Schemas of which each is good make a grammar that is not."""
    return invalid(param, f"All schemas together: {safe_repr(error)}.")


def _translated(piece: SchemaSource, prefix: str, error_of: ErrorOf | None) -> dict[str, Any]:
    schema, places = piece.translated(prefix)
    error = error_of(_of_schema(schema)) if error_of and not piece.harmless else ""
    if error:
        raise piece.refused(error, places)
    return schema


def _of_schema(schema: dict[str, Any]) -> str:
    return str(LLMatcher.grammar_from_json_schema(json.dumps(schema), overrides=OPTIONS))


def _of_lark(grammar: str) -> str:
    return str(LLMatcher.grammar_from_lark(grammar))


PARAM = "response_format.json_schema.schema"


def asked_schema(request: v1.ChatCompletionRequest) -> SchemaSource | None:
    """The schema of a request's answers, None for any text. Raises `ChatError` 400."""
    if not request.HasField("response_format"):
        return None
    given = request.response_format
    if given.type == v1.RESPONSE_FORMAT_TYPE_JSON_OBJECT:
        if not any("json" in text.lower() for text in _texts(request)):
            message = (
                "'messages' must contain the word 'json' in some form, to use 'response_format' of type 'json_object'."
            )
            raise invalid("messages", message)
        return known_schema(ANY_OBJECT, PARAM)
    if given.type != v1.RESPONSE_FORMAT_TYPE_JSON_SCHEMA:
        return None
    if not given.json_schema.HasField("name"):
        raise invalid("response_format.json_schema.name", "A schema must have a name.")
    check_name(given.json_schema.name, "response_format.json_schema.name")
    if not given.json_schema.HasField("schema"):
        return known_schema(ANY_VALUE, PARAM)
    check_limits(given.json_schema.schema, PARAM)
    return given_schema(parse_schema(given.json_schema.schema, PARAM), PARAM)


def _texts(request: v1.ChatCompletionRequest) -> Iterable[str]:
    for message in request.messages:
        yield message.text
        yield from (part.text for part in message.parts.parts)
