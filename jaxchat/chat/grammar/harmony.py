"""The grammar of answers made of messages to channels: thoughts, then one message to the user or a function."""

from __future__ import annotations

from collections.abc import Sequence

from jaxchat.chat.grammar.json_schema.objects import Schema, in_any_order
from jaxchat.chat.grammar.tool_writer import ToolGrammarWriter, json_rule
from jaxchat.chat.tools.format import CHANNEL, CONSTRAIN, END, MESSAGE, START


def in_channels(
    writer: ToolGrammarWriter,
    options: Schema,
    calls: Sequence[tuple[str, Schema]],
    answer: Schema | None,
    *,
    forced: bool = False,
) -> str:
    """Returns the grammar of an answer that may call functions.

    Args:
        writer: knows the control tokens.
        options: the grammar library's options for schemas.
        calls: names of functions and schemas of their arguments.
        answer: schema of the message to the user; None for any text.
        forced: requires a call, without thoughts.
    """
    thoughts = " | ".join(writer.spelled((CHANNEL, channel, MESSAGE)) for channel in ("analysis", "commentary"))
    next_message = writer.spelled((END, START, "assistant"))
    final = writer.spelled((CHANNEL, "final", MESSAGE))
    last = [f"call_{index}" for index in range(len(calls))]
    rules = []
    if not forced:
        last.append("final")
        rules = [
            f"thought: ({thoughts}) TEXT {next_message}",
            f"final: {final} {'TEXT' if answer is None else json_rule(options, answer)}",
            "TEXT: /(?s:.*)/",
        ]
    for index, (name, schema) in enumerate(calls):
        header = writer.spelled((CHANNEL, f"commentary to=functions.{name} ", CONSTRAIN, "json", MESSAGE))
        rules.append(f"call_{index}: {header} {json_rule(options, in_any_order(schema))}")
    return "\n".join([f"start: {'' if forced else 'thought* '}({' | '.join(last)})", *rules])
