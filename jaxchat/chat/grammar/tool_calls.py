"""The grammar of answers that call functions."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from jaxchat.chat.grammar.harmony import in_channels
from jaxchat.chat.grammar.schema_source import (
    EMPTY_OBJECT,
    MAX_BYTES,
    SchemaSource,
    check_limits,
    given_schema,
    known_schema,
)
from jaxchat.chat.grammar.tool_writer import ToolGrammarWriter
from jaxchat.chat.request.tool_choice import Mode, ToolChoice
from jaxchat.errors import invalid

Schema = dict[str, Any]

PARAM = {False: "tools", True: "functions"}


@dataclass(frozen=True)
class Calls:
    """Which calls an answer may hold: the names that may be called, and the schema of the arguments of each."""

    mode: Mode
    most: int
    names: tuple[str, ...]
    arguments: tuple[SchemaSource, ...]
    param: str

    def lark(
        self, written: ToolGrammarWriter, options: Schema, arguments: Sequence[Schema], answer: Schema | None
    ) -> str:
        """The grammar, of schemas made for the grammar library; `answer` is that of an answer without calls."""
        if written.tool_format.channels:
            calls = tuple(zip(self.names, arguments, strict=True))
            return in_channels(written, options, calls, answer, forced=self.mode == "required")
        text = self.mode != "required" and answer is None
        rules = [self._start(written, answer is not None)]
        if answer is not None:
            rules.append(f"answer: %json {json.dumps({'x-guidance': options} | answer)}")
        if text:
            rules.append(written.text())
        if self.names:
            bodies = written.bodies(options, self.names, arguments)
            rules += written.calls(self.most, bodies, after_text=text)
        return "\n".join(rules)

    def _start(self, written: ToolGrammarWriter, formatted: bool) -> str:
        bare = written.tool_format.bare
        if self.mode == "required":
            return "start: bare" if bare else "start: calls"
        if formatted:
            return "start: answer | calls"  # a bare call could not be told from an answer
        if not self.names:
            return "start: TEXT"
        return "start: TEXT | bare" if bare else "start: TEXT | late"


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
