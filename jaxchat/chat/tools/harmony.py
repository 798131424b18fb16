"""Harmony, the format of gpt-oss. An answer consists of messages to channels.

Each message is text for the user, a call of a function, or a thought. `harmony_reasoning` reads thoughts.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from jaxchat.chat.grammar.json_schema.objects import in_any_order
from jaxchat.chat.grammar.lark import AnswerRules, LarkWriter
from jaxchat.chat.tools.signatures import NO_SIGNATURES, Signatures
from jaxchat.chat.tools.stream_parser import Segment, StreamParser, Syntax

CHANNEL, MESSAGE, CONSTRAIN, START, END = "<|channel|>", "<|message|>", "<|constrain|>", "<|start|>", "<|end|>"
SHOWN = ("final", "commentary")
_TO = "to="
_FUNCTION = re.compile(r"to=functions\.([^\s<]+)")


@dataclass(frozen=True)
class HarmonyFormat:
    """The format of gpt-oss: an answer is a series of messages to channels. The header of a call names the function."""

    markers: tuple[str, ...] = (CHANNEL, MESSAGE, CONSTRAIN, START, END)
    id_length: int = 0
    efforts: tuple[str, ...] = ("low", "medium", "high")

    def recognises(self, template: str) -> bool:
        """Returns whether a chat template writes messages to channels, as Harmony does."""
        return CHANNEL in template

    def parser(self, *, callable: bool, forced: bool, signatures: Signatures = NO_SIGNATURES) -> ChannelParser:
        """Returns a new parser of one answer; never None, because answers without calls also consist of messages."""
        return ChannelParser(forced=forced, callable=callable)

    def grammar(self, rules: AnswerRules, writer: LarkWriter) -> str:
        """Returns the Lark grammar of an answer: thoughts, then one message to the user or a function.

        Thoughts are not allowed before a required call.
        """
        return "\n".join(_rules(rules, writer))


HARMONY = HarmonyFormat()


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
        early = writer.spelled((f" to=functions.{name}", CHANNEL, "commentary "))
        early += f" {writer.spelled((CONSTRAIN,))}? {writer.spelled(('json', MESSAGE))}"
        yield f"call_{index}: ({header} | {early}) {writer.json(in_any_order(schema))}"


class ChannelParser(StreamParser):
    """A parser that splits text into content and calls as it arrives.

    The header of a message, from `<|channel|>` to `<|message|>`, names the channel of the message. The header of a call
    also names the function. The function may also be named before `<|channel|>`. The parser keeps only messages to the
    user and, if `callable` is true, calls.
    """

    def __init__(self, *, forced: bool = False, callable: bool = True) -> None:
        """Starts before the first header. With `forced`, only calls are expected: other text is not content."""
        super().__init__(self._before, forced=forced)
        self._callable = callable
        self._recipient = ""  # what stands before the header

    def flush(self) -> str:
        """Ends the answer. Returns the part of the held-back text that is content."""
        text, self._held = self._held, ""
        return text if self._step in (self._before, self._unnamed, self._shown) and not self._forced else ""

    def _before(self, pieces: list[Segment]) -> bool:
        """Waits until it is known whether the answer begins with `to=` and a recipient. Other text is content."""
        lead, found, _ = self._held.partition(CHANNEL)
        if not found and _TO.startswith(lead.strip()):
            return False
        self._step = self._between if lead.lstrip().startswith(_TO) else self._unnamed
        return True

    def _unnamed(self, pieces: list[Segment]) -> bool:
        """Takes content that stands before the first header."""
        return self.take_until(CHANNEL, self._header, pieces, visible=True)

    def _between(self, pieces: list[Segment]) -> bool:
        lead, found, rest = self._held.partition(CHANNEL)
        if found:
            pieces.append(Syntax(len(lead) + len(found)))
            self._held, self._recipient, self._step = rest, lead, self._header
        return bool(found)

    def _shown(self, pieces: list[Segment]) -> bool:
        return self.take_until(END, self._between, pieces, visible=True)

    def _hidden(self, pieces: list[Segment]) -> bool:
        return self.take_until(END, self._between, pieces, visible=False)

    def _header(self, pieces: list[Segment]) -> bool:
        header, found, rest = self._held.partition(MESSAGE)
        if not found:
            return False
        pieces.append(Syntax(len(header) + len(found)))
        self._held, named = rest, _FUNCTION.search(f"{self._recipient} {header}")
        self._recipient = ""
        if named and self._callable:
            self.begin_call(named[1], pieces)
            self._step = self._inside_arguments
        else:
            self._step = self._shown if header.strip() in SHOWN else self._hidden
        return True

    def _inside_arguments(self, pieces: list[Segment]) -> bool:
        ended = self.take_arguments(self._hidden, pieces)
        self.complete += ended
        return ended
