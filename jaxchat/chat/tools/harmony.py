"""Harmony, the format of gpt-oss: an answer is made of messages, each to a channel.

A message is for the user, is a call, or is a thought, which nobody is to see.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from jaxchat.chat.context import random_id
from jaxchat.chat.grammar.json_schema.objects import in_any_order
from jaxchat.chat.grammar.lark import AnswerRules, LarkWriter
from jaxchat.chat.tools.stream_parser import AnswerParser, CallPart, JsonEnd, Segment, StreamParser, Syntax

CHANNEL, MESSAGE, CONSTRAIN, START, END = "<|channel|>", "<|message|>", "<|constrain|>", "<|start|>", "<|end|>"
SHOWN = ("final", "commentary")
_FUNCTION = re.compile(r"to=functions\.([^\s<]+)")


@dataclass(frozen=True)
class HarmonyFormat:
    """Answers in messages, with and without calls. A call is a message whose header names the function."""

    markers: tuple[str, ...] = (CHANNEL, MESSAGE, CONSTRAIN, START, END)
    id_length: int = 0

    def recognises(self, template: str) -> bool:
        """Returns whether a chat template writes channels."""
        return CHANNEL in template

    def parser(self, *, callable: bool, forced: bool) -> ChannelParser:
        """Returns a new parser of one answer; every answer has messages to take apart."""
        return ChannelParser(forced=forced, callable=callable)

    def grammar(self, rules: AnswerRules, writer: LarkWriter) -> str:
        """Returns the Lark grammar of thoughts and then one message, to the user or to a function.

        In an answer that must call there are no thoughts.
        """
        return "\n".join(_rules(rules, writer))


HARMONY = HarmonyFormat()


@dataclass(frozen=True)
class HarmonyReasoning:
    """Thoughts are messages to other channels than the user's, of which "analysis" is the usual one."""

    markers: tuple[str, ...] = HARMONY.markers

    def recognises(self, template: str) -> bool:
        """Returns whether a chat template writes channels."""
        return HARMONY.recognises(template)

    def parser(self, answer: AnswerParser | None) -> AnswerParser:
        """Returns a parser that takes messages apart, which leaves thoughts out: `answer` where that is one."""
        return answer or ChannelParser(callable=False)


HARMONY_REASONING = HarmonyReasoning()


def _rules(rules: AnswerRules, writer: LarkWriter) -> Iterator[str]:
    forced = rules.mode == "required"
    last = [f"call_{index}" for index in range(len(rules.functions))] + ["final"] * (not forced)
    yield f"start: {'' if forced else 'thought* '}({' | '.join(last)})"
    if not forced:
        thoughts = " | ".join(writer.spelled((CHANNEL, channel, MESSAGE)) for channel in ("analysis", "commentary"))
        yield f"thought: ({thoughts}) TEXT {writer.spelled((END, START, 'assistant'))}"
        answer = "TEXT" if rules.answer is None else writer.json(rules.answer)
        yield f"final: {writer.spelled((CHANNEL, 'final', MESSAGE))} {answer}"
        yield "TEXT: /(?s:.*)/"
    for index, (name, schema) in enumerate(rules.functions):
        header = writer.spelled((CHANNEL, f"commentary to=functions.{name} ", CONSTRAIN, "json", MESSAGE))
        yield f"call_{index}: {header} {writer.json(in_any_order(schema))}"


class ChannelParser(StreamParser):
    """Splits text into content and calls as it comes.

    A header, from `<|channel|>` to `<|message|>`, names the message's channel, and the function where it is a call.
    Thoughts, and messages to anybody but the user or a function, are left out; so are calls unless `callable`.
    """

    def __init__(self, *, forced: bool = False, callable: bool = True) -> None:
        """`forced` as for `StreamParser`."""
        super().__init__(self._before, forced=forced)
        self._callable = callable

    def flush(self) -> str:
        """At the end of the answer: held text that is content after all."""
        text, self._held = self._held, ""
        return text if self._step in (self._before, self._shown) and not self._forced else ""

    def _before(self, pieces: list[Segment]) -> bool:
        """Text before the first header is content: the model does not write messages."""
        return self.take_until(CHANNEL, self._header, pieces, visible=True)

    def _between(self, pieces: list[Segment]) -> bool:
        return self.take_until(CHANNEL, self._header, pieces, visible=False)

    def _shown(self, pieces: list[Segment]) -> bool:
        return self.take_until(END, self._between, pieces, visible=True)

    def _hidden(self, pieces: list[Segment]) -> bool:
        return self.take_until(END, self._between, pieces, visible=False)

    def _header(self, pieces: list[Segment]) -> bool:
        header, found, rest = self._held.partition(MESSAGE)
        if not found:
            return False
        pieces.append(Syntax(len(header) + len(found)))
        self._held, named = rest, _FUNCTION.search(header)
        if named and self._callable:
            pieces.append(CallPart(self._begun, id=random_id("call_", 24), name=named[1]))
            self._begun += 1
            self._arguments, self._step = JsonEnd(), self._inside_arguments
        else:
            self._step = self._shown if header.strip() in SHOWN else self._hidden
        return True

    def _inside_arguments(self, pieces: list[Segment]) -> bool:
        end = self._arguments.find(self._held)
        pieces += [CallPart(self._begun - 1, self._held[:end]), Syntax(end)]
        self._held = self._held[end:]
        if self._arguments.ended:
            self.complete += 1
            self._step = self._hidden
        return self._arguments.ended
