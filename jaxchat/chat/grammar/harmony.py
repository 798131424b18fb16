"""The grammar of answers that are messages to channels: thoughts, and then one to the user or to a function."""

from __future__ import annotations

from collections.abc import Sequence

from jaxchat.chat.grammar.json_schema.objects import Schema, in_any_order
from jaxchat.chat.grammar.tool_writer import ToolGrammarWriter, json_rule
from jaxchat.chat.tools.format import CHANNEL, CONSTRAIN, END, MESSAGE, START


def in_channels(
    written: ToolGrammarWriter,
    options: Schema,
    calls: Sequence[tuple[str, Schema]],
    answer: Schema | None,
    *,
    forced: bool = False,
) -> str:
    """The grammar of an answer that may call functions, or must where it is `forced`: then there are no thoughts.

    Args:
        written: has the control tokens.
        options: of schemas.
        calls: names of functions, and schemas of their arguments.
        answer: the schema of the message to the user; None for any text.
    """
    thoughts = " | ".join(written.spelled((CHANNEL, channel, MESSAGE)) for channel in ("analysis", "commentary"))
    after = written.spelled((END, START, "assistant"))
    final = written.spelled((CHANNEL, "final", MESSAGE))
    last = [f"call_{index}" for index in range(len(calls))]
    rules = []
    if not forced:
        last.append("final")
        rules = [
            f"thought: ({thoughts}) TEXT {after}",
            f"final: {final} {'TEXT' if answer is None else json_rule(options, answer)}",
            "TEXT: /(?s:.*)/",
        ]
    for index, (name, schema) in enumerate(calls):
        header = written.spelled((CHANNEL, f"commentary to=functions.{name} ", CONSTRAIN, "json", MESSAGE))
        rules.append(f"call_{index}: {header} {json_rule(options, in_any_order(schema))}")
    return "\n".join([f"start: {'' if forced else 'thought* '}({' | '.join(last)})", *rules])
