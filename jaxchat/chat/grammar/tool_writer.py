"""Writes grammar rules for tool calls in a model's format, parts of which may be control tokens."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass

from jaxchat.chat.grammar.json_schema.objects import Schema, in_any_order
from jaxchat.chat.tools.format import ToolFormat


@dataclass(frozen=True)
class ToolGrammarWriter:
    """A writer of rules in the grammar library's language. `markers` are spellings and ids of control tokens."""

    tool_format: ToolFormat
    markers: tuple[tuple[str, int], ...] = ()

    def text(self) -> str:
        """Returns the rule TEXT: text that is not a call and cannot be mistaken for one."""
        opening = _pattern(self.tool_format.opening)
        rule = f"TEXT: /(?s:.*)/ & ~/(?s:.*){opening}(?s:.*)/"
        return rule + r' & ~/\s*\{\s*"name"(?s:.*)/' if self.tool_format.bare else rule

    def calls(self, most: int, bodies: list[str], *, after_text: bool) -> list[str]:
        """Returns the rule `calls` of one to `most` calls, with the rules `body` of `bodies`.

        With `after_text`, also returns the rule `late` of calls after text. Formats with bare calls do not have it,
        because their calls come first.
        """
        tool_format = self.tool_format
        opening = self.spelled((tool_format.opening,))
        more = (
            f" ({self.spelled(tool_format.between)} body){{0,{most - 1}}}" if tool_format.between and most > 1 else ""
        )
        rules = [
            f"calls: {opening} rest",
            f"rest: {self.spelled(tool_format.before)} body{more} {self.spelled(tool_format.after)}",
            *bodies,
        ]
        if tool_format.bare:
            return [*rules, "bare: calls | rest"]
        return [*rules, *self._late()] if after_text else rules

    def bodies(self, options: Schema, names: Sequence[str], arguments: Sequence[Schema]) -> list[str]:
        """Returns the rules of `body`, one object for each function."""
        if not self.tool_format.bare:
            return [f"body: {json_rule(options, _one_of(self.tool_format, names, arguments))}"]
        rules = [f"body: {' | '.join(f'call_{index}' for index in range(len(names)))}"]
        for index, (name, schema) in enumerate(zip(names, arguments, strict=True)):
            # The beginning is one lexeme, because the library's lexer cannot reinterpret text that it has matched.
            head = rf'\{{ ?"name": ?"{_pattern(name)}", ?"{self.tool_format.arguments}":'
            rules += [
                f'call_{index}: head_{index} " "? arguments_{index} "}}"',
                f"head_{index}[lazy]: /{head}/",
                f"arguments_{index}: {json_rule(options, in_any_order(schema))}",
            ]
        return rules

    def _late(self) -> list[str]:
        if self.tool_format.opening in dict(self.markers):
            return ["late: TEXT? calls"]
        return ["late: head rest", f"head[lazy]: /(?s:.*){_pattern(self.tool_format.opening)}/"]

    def spelled(self, parts: tuple[str, ...]) -> str:
        """Returns the parts in sequence: control tokens by their ids, other parts as text, joined where adjacent."""
        ids = dict(self.markers)
        items: list[str] = []
        text = ""
        for part in parts:
            if part in ids:
                items += [json.dumps(text)] * bool(text) + [f"<[{ids[part]}]>"]
                text = ""
            else:
                text += part
        return " ".join(items + [json.dumps(text)] * bool(text))


def _pattern(text: str) -> str:
    """Returns a pattern that matches `text` literally, for use between slashes."""
    return re.escape(text).replace("/", r"\/")


def json_rule(options: Schema, schema: Schema) -> str:
    return f"%json {json.dumps({'x-guidance': options} | schema)}"


def _one_of(tool_format: ToolFormat, names: Sequence[str], arguments: Sequence[Schema]) -> Schema:
    """Returns a schema with one object for each function. Moves definitions to the root, where references point."""
    definitions: Schema = {}
    calls = []
    for name, schema in zip(names, arguments, strict=True):
        definitions |= schema.get("$defs", {})
        reordered = in_any_order({key: value for key, value in schema.items() if key != "$defs"})
        members = {"name": {"const": name}, tool_format.arguments: reordered}
        calls.append(
            {"type": "object", "properties": members, "required": list(members), "additionalProperties": False}
        )
    return {"anyOf": calls, "$defs": definitions}
