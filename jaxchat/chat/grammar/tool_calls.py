"""The grammar of answers that call functions."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from jaxchat.chat.grammar.harmony import in_channels
from jaxchat.chat.grammar.schema_source import EMPTY_OBJECT, MAX_BYTES, SchemaSource, checked
from jaxchat.chat.grammar.tool_writer import ToolGrammarWriter
from jaxchat.chat.request.tool_choice import Mode, ToolChoice
from jaxchat.errors import invalid

Schema = dict[str, Any]

PARAM = {False: "tools", True: "functions"}


@dataclass(frozen=True)
class Calls:
    """The calls that an answer may have: names of functions and schemas of their arguments."""

    mode: Mode
    most: int
    names: tuple[str, ...]
    arguments: tuple[SchemaSource, ...]
    param: str

    def lark(
        self, writer: ToolGrammarWriter, options: Schema, arguments: Sequence[Schema], answer: Schema | None
    ) -> str:
        """Returns the grammar in the library's language.

        Args:
            writer: writes calls as this model does.
            options: the grammar library's options for schemas.
            arguments: translated schemas of the functions' arguments.
            answer: translated schema of an answer without calls; None for any text.
        """
        if writer.tool_format.channels:
            calls = tuple(zip(self.names, arguments, strict=True))
            return in_channels(writer, options, calls, answer, forced=self.mode == "required")
        text = self.mode != "required" and answer is None
        rules = [self._start(writer, answer is not None)]
        if answer is not None:
            rules.append(f"answer: %json {json.dumps({'x-guidance': options} | answer)}")
        if text:
            rules.append(writer.text())
        if self.names:
            bodies = writer.bodies(options, self.names, arguments)
            rules += writer.calls(self.most, bodies, after_text=text)
        return "\n".join(rules)

    def _start(self, writer: ToolGrammarWriter, formatted: bool) -> str:
        bare = writer.tool_format.bare
        if self.mode == "required":
            return "start: bare" if bare else "start: calls"
        if formatted:
            return "start: answer | calls"  # a bare call would be indistinguishable from an answer
        if not self.names:
            return "start: TEXT"
        return "start: TEXT | bare" if bare else "start: TEXT | late"


def allowed_calls(choice: ToolChoice) -> Calls | None:
    """Returns the calls that a request allows, or None without functions. Raises `ChatError` 400 for bad parameters."""
    if not choice.functions:
        return None
    param = PARAM[choice.legacy]
    sources = []
    for path, function in choice.callable:
        field = f"{path}.parameters"
        text = checked(function.parameters, field) if function.HasField("parameters") else EMPTY_OBJECT
        sources.append(SchemaSource(text, field, object_only=True))
    if sum(len(source.text.encode()) for source in sources) > MAX_BYTES:
        raise invalid(param, f"All parameters together take at most {MAX_BYTES} bytes.")
    names = tuple(function.name for _, function in choice.callable)
    return Calls(choice.mode, choice.most, names, tuple(sources), param)
