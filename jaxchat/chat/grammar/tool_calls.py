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
    given_schema,
    known_schema,
)
from jaxchat.chat.request.tool_choice import Mode, ToolChoice
from jaxchat.errors import invalid

PARAM = {False: "tools", True: "functions"}


@dataclass(frozen=True)
class Calls:
    """Which calls an answer may hold: the names that may be called, and the schema of the arguments of each."""

    mode: Mode
    most: int
    names: tuple[str, ...]
    arguments: tuple[SchemaSource, ...]
    param: str

    def rules(self, arguments: Sequence[Schema], answer: Schema | None) -> AnswerRules:
        """Returns what the answer may hold.

        Args:
            arguments: the schema of each function's arguments, translated for the grammar library.
            answer: the schema of an answer without calls; None for any text.
        """
        functions = tuple(zip(self.names, arguments, strict=True))
        answer = None if self.mode == "required" else answer
        return AnswerRules(mode=self.mode, most=self.most, functions=functions, answer=answer)


def asked_calls(called: ToolChoice) -> Calls | None:
    """What a request's functions ask of the grammar, None without any. Raises `ChatError` 400 for bad parameters."""
    if not called.functions:
        return None
    param = PARAM[called.legacy]
    pieces = []
    for function in called.callable:
        at = f"{function.path}.parameters"
        if function.parameters:
            check_limits(function.parameters.text, at)
            pieces.append(given_schema(function.parameters, at, object_only=True))
        else:
            pieces.append(known_schema(EMPTY_OBJECT, at, object_only=True))
    if sum(len(piece.text.encode()) for piece in pieces) > MAX_BYTES:
        raise invalid(param, f"All parameters together take at most {MAX_BYTES} bytes.")
    names = tuple(function.name for function in called.callable)
    return Calls(called.mode, called.most, names, tuple(pieces), param)
