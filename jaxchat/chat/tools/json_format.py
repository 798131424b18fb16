"""Formats in which each call is a JSON object. One description makes the parser and the grammar."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from jaxchat.chat.grammar.json_schema.objects import in_any_order
from jaxchat.chat.grammar.lark import AnswerRules, LarkWriter, Schema, is_empty_object
from jaxchat.chat.tools.answer_rules import answer_rules
from jaxchat.chat.tools.json_parser import TYPE, ToolCallParser, spaced
from jaxchat.chat.tools.signatures import NO_SIGNATURES, Signatures
from jaxchat.chat.tools.stream_parser import AnswerParser, MarkerFilter, ParserChain


@dataclass(frozen=True, kw_only=True)
class JsonToolFormat:
    """A format in which each call is a JSON object of a name and arguments, with text around the objects.

    Texts around the objects are given in parts. A part that is also in `markers` may be a control token of the model.

    Args:
        opening: the text that begins the calls; empty if the calls are the complete answer. If so, `bare` must be true.
        markers: parts that may be control tokens.
        name: the key of the function's name.
        arguments: the key of the arguments.
        id_before: the key of an id that the model writes before the name; empty if it does not write such an id.
        id_after: the key of an id that the model may write after the arguments; empty if it does not write such an id.
        id_form: pattern of the ids that the model writes.
        before: parts between the opening and the first call.
        between: parts between two calls; None if an answer has at most one call.
        after: parts after the last call.
        bare: whether calls always begin the answer, and may omit the opening.
        typed: whether `"type": "function"` may stand before the name in calls of a format with `bare`.
        around: control tokens that may stand before and after text, and are not content.
        lead: pattern of the text that the parser accepts before an object.
        more: pattern of the text between the arguments of a call and the next object, for formats without an opening
            between two calls; empty for all other formats.
        ended: pattern of the text from the end of the arguments to the end of the calls, or to the next opening.
        id_length: number of letters and digits that the template requires in the id of a call; 0 for any.
    """

    opening: str
    markers: tuple[str, ...]
    name: str = "name"
    arguments: str = "arguments"
    id_before: str = ""
    id_after: str = ""
    id_form: str = "[0-9]{1,4}"
    before: tuple[str, ...] = ()
    between: tuple[str, ...] | None = None
    after: tuple[str, ...] = ()
    bare: bool = False
    typed: bool = False
    around: tuple[str, ...] = ()
    lead: str = ""
    more: str = ""
    ended: str = r"\s*\}"
    id_length: int = 0

    def recognises(self, template: str) -> bool:
        """Returns whether a chat template contains the opening."""
        return self.opening in template

    def parser(self, *, callable: bool, forced: bool, signatures: Signatures = NO_SIGNATURES) -> AnswerParser | None:
        """Returns a new parser of one answer, or None if the whole text of the answer is content."""
        parser = ToolCallParser(self, forced=forced) if callable else None
        return ParserChain(MarkerFilter(self.around), parser) if self.around else parser

    def grammar(self, rules: AnswerRules, writer: LarkWriter) -> str | None:
        """Returns the Lark grammar of an answer that may call functions, or None for requests without functions."""
        return "\n".join(_rules(self, rules, writer)) if rules.most else None

    def write_calls(self, calls: Sequence[tuple[str, str]]) -> str:
        """Returns the text of an answer that consists of `calls`: pairs of a name and arguments as JSON text."""
        bodies = [self._written(number, *call) for number, call in enumerate(calls)]
        text = "".join(self.between or ("\n",)).join(bodies)
        return "".join(["" if self.bare else self.opening, *self.before, text, *self.after])

    def _written(self, number: int, name: str, arguments: str) -> str:
        number_key = f'"{self.id_before}": "{number}", ' if self.id_before else ""
        return f'{{{number_key}"{self.name}": {json.dumps(name)}, "{self.arguments}": {arguments}}}'


def _rules(tool_format: JsonToolFormat, rules: AnswerRules, writer: LarkWriter) -> Iterator[str]:
    bracket = r"\[\s*" if tool_format.before else ""
    typed = rf"({spaced(TYPE)}\s*,\s*)?" if tool_format.typed else ""
    bare = rf'\s*{bracket}\{{\s*{typed}"name"' if tool_format.bare else ""
    around, markers = tool_format.around, tool_format.markers
    yield from answer_rules(tool_format.opening, rules, writer, markers=markers, bare=bare, around=around)
    if rules.functions:
        yield from _calls(tool_format, rules, writer)


def _calls(tool_format: JsonToolFormat, rules: AnswerRules, writer: LarkWriter) -> Iterator[str]:
    """Yields the rules `calls` and `bare`, for calls with and without the opening, and the rules that they need.

    Omits `calls` if the format has no opening, and `bare` if calls always have the opening.
    """
    more = ""
    if tool_format.between and rules.most > 1:
        more = f" ({writer.spelled(tool_format.between)} body){{0,{rules.most - 1}}}"
    first = f"{writer.spelled(tool_format.before)} body"
    if tool_format.bare:
        yield "bare: calls | rest" if tool_format.opening else "bare: rest"
        first = "first" if tool_format.before else "body"
    if tool_format.opening:
        yield f"calls: {writer.spelled((tool_format.opening,))} rest"
    yield f"rest: {first}{more} {writer.spelled(tool_format.after)}"
    with_ids = tool_format.id_before or tool_format.id_after
    if not tool_format.bare and (with_ids or not any(is_empty_object(schema) for _, schema in rules.functions)):
        yield f"body: {writer.json(_one_of(tool_format, rules))}"
        return
    if tool_format.bare and tool_format.before:
        yield from _bodies(tool_format, rules, writer, "first", "".join(tool_format.before))
    if not tool_format.bare or not tool_format.before or more:
        yield from _bodies(tool_format, rules, writer, "body")
    for index, (_, schema) in enumerate(rules.functions):
        yield f"arguments_{index}: {writer.json(in_any_order(schema))}"


def _bodies(
    tool_format: JsonToolFormat, rules: AnswerRules, writer: LarkWriter, rule: str, before: str = ""
) -> Iterator[str]:
    """Yields `rule`, for the text `before` and the JSON object of a call, and one rule for each function."""
    yield f"{rule}: {' | '.join(f'{rule}_{index}' for index in range(len(rules.functions)))}"
    for index, (name, _) in enumerate(rules.functions):
        # The beginning is one lexeme, because the library's lexer cannot reinterpret text that it has matched.
        typed = '("type": ?"function", ?)?' if tool_format.typed else ""
        head = rf'{writer.pattern(before)}\{{ ?{typed}"name": ?"{writer.pattern(name)}", ?"{tool_format.arguments}":'
        yield f'{rule}_{index}: {rule}_head_{index} " "? arguments_{index} "}}"'
        yield f"{rule}_head_{index}[lazy]: /{head}/"


def _one_of(tool_format: JsonToolFormat, rules: AnswerRules) -> Schema:
    """Returns a schema with one object for each function. Moves definitions to the root, to which references point."""
    definitions: Schema = {}
    calls = []
    for name, schema in rules.functions:
        definitions |= schema.get("$defs", {})
        arguments = in_any_order({key: value for key, value in schema.items() if key != "$defs"})
        own_id = {"type": "string", "pattern": f"^{tool_format.id_form}$"}
        members = {tool_format.id_before: own_id} if tool_format.id_before else {}
        members |= {tool_format.name: {"const": name}, tool_format.arguments: arguments}
        required = list(members)
        members |= {tool_format.id_after: own_id} if tool_format.id_after else {}
        calls.append({"type": "object", "properties": members, "required": required, "additionalProperties": False})
    return {"anyOf": calls, "$defs": definitions}
