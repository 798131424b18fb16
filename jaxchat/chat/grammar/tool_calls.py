"""The grammar of answers that call functions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from jaxchat.chat.grammar.lark import AnswerRules, Schema
from jaxchat.chat.grammar.schema_source import (
    EMPTY_OBJECT,
    MAX_BYTES,
    SchemaSource,
    check_limits,
    known_schema,
    request_schema,
)
from jaxchat.chat.request.tool_choice import Mode, ToolChoice
from jaxchat.errors import invalid_schema

PARAM = {False: "tools", True: "functions"}


@dataclass(frozen=True)
class Calls:
    """The calls that an answer may have.

    Attributes:
        mode: whether the answer may or must have calls.
        most: maximum number of calls.
        names: names of the functions that may be called.
        arguments: schemas of the arguments, one for each of `names`.
        param: the request field that is named in errors.
    """

    mode: Mode
    most: int
    names: tuple[str, ...]
    arguments: tuple[SchemaSource, ...]
    param: str

    def rules(self, arguments: Sequence[Schema], answer: Schema | str | None) -> AnswerRules:
        """Returns the rules of the answer.

        Args:
            arguments: translated schemas of the functions' arguments.
            answer: translated schema of an answer without calls, or a Lark expression for it; None for any text.
        """
        functions = tuple(zip(self.names, arguments, strict=True))
        answer = None if self.mode == "required" else answer
        return AnswerRules(mode=self.mode, most=self.most, functions=functions, answer=answer)


def allowed_calls(choice: ToolChoice) -> Calls | None:
    """Returns the calls that a request allows, or None for a request without functions.

    Raises:
        ChatError: 400 if a function's parameters exceed a limit. The error names the field.
    """
    if not choice.functions:
        return None
    param = PARAM[choice.legacy]
    sources = []
    for function in choice.callable:
        field = f"{function.path}.parameters"
        if function.parameters:
            check_limits(function.parameters.text, field)
            sources.append(request_schema(function.parameters, field, object_only=True, strict=function.strict))
        else:
            sources.append(known_schema(EMPTY_OBJECT, field, object_only=True))
    if sum(len(source.text.encode()) for source in sources) > MAX_BYTES:
        raise invalid_schema(param, f"expected at most {MAX_BYTES} bytes in all schemas together.")
    names = tuple(function.name for function in choice.callable)
    return Calls(choice.mode, choice.most, names, tuple(sources), param)
