"""The output constraint of a request, and its grammar."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

from llguidance import LLMatcher

from jaxchat import v1
from jaxchat.chat.grammar.json_schema.digits import limit_digits
from jaxchat.chat.grammar.json_schema.keywords import UnsupportedSchema
from jaxchat.chat.grammar.lark import AnswerRules, LarkWriter
from jaxchat.chat.grammar.sandbox import TooSlow
from jaxchat.chat.grammar.schema_source import (
    ANY_OBJECT,
    ANY_VALUE,
    SchemaSource,
    check_limits,
    known_schema,
    plain_error,
    request_schema,
)
from jaxchat.chat.grammar.structured import LarkSource, structured_source
from jaxchat.chat.grammar.tool_calls import Calls, allowed_calls
from jaxchat.chat.request.schema_text import parse_schema
from jaxchat.chat.request.tool_choice import ToolChoice
from jaxchat.chat.request.validate_fields import check_name
from jaxchat.chat.tools.format import ToolFormat
from jaxchat.errors import ChatError, invalid, invalid_schema, missing

OPTIONS: Any = {
    # Between tokens: one space, or one line break and some indentation.
    "whitespace_pattern": r"\n[ \t]{0,20}| ",
    # \u escapes, surrogates only in pairs.
    "json_allow_general_unicode_escapes": True,
}
ErrorOf = Callable[[str], str]


class SlowSchema(ChatError):
    """An error 400 for a rule that takes too much processor time.

    The error is not cached, because a second attempt may take less time.
    """


@dataclass(frozen=True)
class OutputConstraint:
    """A limit on what an answer may contain. Equal constraints have the same grammar.

    Attributes:
        answer: the schema or rule that an answer without calls must follow; None for any text.
        calls: the calls that an answer may have; None without tools.
        raw: whether the answer is plain text, without the frame that the tool format puts around answers.
    """

    answer: SchemaSource | LarkSource | None = None
    calls: Calls | None = None
    raw: bool = False

    @property
    def param(self) -> str:
        """The request field that is named in errors about the whole grammar."""
        if self.calls:
            return self.calls.param
        return self.answer.param.partition(".")[0] if self.answer else "response_format"

    def grammar(self, error_of: ErrorOf | None, tool_format: ToolFormat, writer: LarkWriter) -> str:
        """Returns the grammar as text for the grammar library.

        Args:
            error_of: probes a grammar and returns its error as text, or "" for a valid grammar. None if this constraint
                was probed before, so that the probes are skipped.
            tool_format: how the model writes calls, and answers without calls.
            writer: writes rules with the model's control tokens.

        Raises:
            ChatError: 400 if a schema, or all schemas together, cannot be enforced, or if `error_of` raises `TooSlow`.
                The error names the field.
            Exception: any other exception of `error_of`.
        """
        answer = self._answer(error_of)
        if self.calls is None:
            framed = None if self.raw else tool_format.grammar(AnswerRules(answer=answer), writer)
            if framed is None and not isinstance(answer, str):
                return _of_schema(answer or {})
            return _of_lark(framed or f"start: {answer}")
        sources = enumerate(self.calls.arguments)
        arguments = [_translated(source, f"t{i}_", error_of) for i, source in sources]
        rules = self.calls.rules(arguments, answer)
        if error_of and not all(source.known_to_compile for source in self.calls.arguments):
            # A probe generates one answer. Requiring calls makes it test them instead of text.
            forced = replace(rules, mode="required", answer=None)
            if error := _probed(error_of, _of_lark(self._written(tool_format, forced, writer)), self.param):
                raise combination_error(self.param, error)
        return _of_lark(self._written(tool_format, rules, writer))

    def _answer(self, error_of: ErrorOf | None) -> dict[str, Any] | str | None:
        """Returns the translated schema of an answer without calls, or a Lark expression for it; None for any text.

        Raises:
            ChatError: 400 if the schema or the expression cannot be enforced.
        """
        if not isinstance(self.answer, LarkSource):
            return _translated(self.answer, "", error_of) if self.answer else None
        if error_of and (error := _probed(error_of, _of_lark(self.answer.grammar), self.answer.param)):
            raise self.answer.error(error)
        return self.answer.expression

    def _written(self, tool_format: ToolFormat, rules: AnswerRules, writer: LarkWriter) -> str:
        try:
            return tool_format.grammar(rules, writer) or ""
        except UnsupportedSchema as error:
            param, message = self._refused(tool_format, rules, writer) or (self.param, str(error))
            raise invalid_schema(param, message) from None

    def _refused(self, tool_format: ToolFormat, rules: AnswerRules, writer: LarkWriter) -> tuple[str, str] | None:
        """Returns the request field and the error of the first function that the tool format cannot write.

        Tests each function alone, without the other functions. Returns None if the format can write each of them.
        """
        sources = self.calls.arguments if self.calls else ()
        for source, function in zip(sources, rules.functions, strict=True):
            try:
                tool_format.grammar(replace(rules, functions=(function,)), writer)
            except UnsupportedSchema as error:
                return source.param, str(error)
        return None


def output_constraint(request: v1.ChatCompletionRequest, tool_choice: ToolChoice) -> OutputConstraint | None:
    """Returns the constraint of a request, or None for any text.

    Args:
        request: a validated request.
        tool_choice: the tool choice of the request.

    Raises:
        ChatError: 400 if the response format, the structured outputs or a function's parameters are invalid. The error
            names the field.
    """
    structured = request.HasField("structured_outputs")
    answer = structured_source(request.structured_outputs) if structured else response_schema(request)
    calls = allowed_calls(tool_choice)
    if answer and calls and calls.mode == "none":
        return OutputConstraint(answer)
    return OutputConstraint(answer, calls) if answer or calls else None


def text_constraint(request: v1.ChatCompletionRequest) -> OutputConstraint | None:
    """Returns the constraint of a text completion, or None for any text.

    Args:
        request: the completion as a validated chat request without messages and tools.

    Raises:
        ChatError: 400 if the response format or the structured outputs are invalid. The error names the field.
    """
    if request.HasField("structured_outputs"):
        return OutputConstraint(structured_source(request.structured_outputs), raw=True)
    if request.response_format.type == v1.RESPONSE_FORMAT_TYPE_JSON_OBJECT:
        return OutputConstraint(known_schema(ANY_OBJECT, PARAM), raw=True)
    schema = response_schema(request)
    return OutputConstraint(schema, raw=True) if schema else None


def combination_error(param: str, error: str) -> ChatError:
    """Returns the error 400 for schemas that are each valid, but invalid in combination."""
    return invalid_schema(param, f"its rules are valid one by one, but together {plain_error(error)}.")


def _translated(source: SchemaSource, prefix: str, error_of: ErrorOf | None) -> dict[str, Any]:
    schema, pointers = source.translated(prefix)
    error = _probed(error_of, _of_schema(schema), source.param) if error_of and not source.known_to_compile else ""
    if error:
        raise source.error(error, pointers)
    return schema


def _probed(error_of: ErrorOf, grammar: str, param: str) -> str:
    """Returns the grammar's error, or "". Raises `SlowSchema` if the probe takes too much processor time."""
    try:
        return error_of(grammar)
    except TooSlow as error:
        raise SlowSchema(invalid(param, f"{error}. Simplify it.").message, param) from None


def _of_schema(schema: dict[str, Any]) -> str:
    return str(LLMatcher.grammar_from_json_schema(json.dumps(limit_digits(schema)), overrides=OPTIONS))


def _of_lark(grammar: str) -> str:
    return str(LLMatcher.grammar_from_lark(grammar))


NAME, PARAM = "response_format.json_schema.name", "response_format.json_schema.schema"


def response_schema(request: v1.ChatCompletionRequest) -> SchemaSource | None:
    """Returns the schema that `response_format` demands of answers without calls, or None for any text.

    Raises:
        ChatError: 400 if the name is missing or invalid, if the schema is invalid, or if the type is `json_object` and
            no message contains "json".
    """
    if not request.HasField("response_format"):
        return None
    response_format = request.response_format
    if response_format.type == v1.RESPONSE_FORMAT_TYPE_JSON_OBJECT:
        if not any("json" in text.lower() for text in _texts(request)):
            message = (
                "'messages' must contain the word 'json' in some form, to use 'response_format' of type 'json_object'."
            )
            raise invalid("messages", message)
        return known_schema(ANY_OBJECT, PARAM)
    if response_format.type != v1.RESPONSE_FORMAT_TYPE_JSON_SCHEMA:
        return None
    if not response_format.json_schema.HasField("name"):
        raise missing(NAME)
    check_name(response_format.json_schema.name, NAME)
    if not response_format.json_schema.HasField("schema"):
        return known_schema(ANY_VALUE, PARAM)
    check_limits(response_format.json_schema.schema, PARAM)
    schema = parse_schema(response_format.json_schema.schema, PARAM)
    return request_schema(schema, PARAM, strict=response_format.json_schema.strict)


def _texts(request: v1.ChatCompletionRequest) -> Iterable[str]:
    for message in request.messages:
        yield message.text
        yield from (part.text for part in message.parts.parts)
