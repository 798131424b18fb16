"""Answers of several messages, each to a channel: what is for the user, what is a call, and what nobody is to see."""

from __future__ import annotations

import re

from jaxchat.chat.context import random_id
from jaxchat.chat.response.stop import held_back
from jaxchat.chat.tools.format import CHANNEL, END, MESSAGE
from jaxchat.chat.tools.stream_parser import CallPart, JsonEnd, Segment, State, StreamParser, Syntax

_FUNCTION = re.compile(r"to=functions\.([^\s<]+)")
SHOWN = ("final", "commentary")


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
        return self._until(CHANNEL, self._header, pieces, safe_repr=True)

    def _between(self, pieces: list[Segment]) -> bool:
        return self._until(CHANNEL, self._header, pieces, safe_repr=False)

    def _shown(self, pieces: list[Segment]) -> bool:
        return self._until(END, self._between, pieces, safe_repr=True)

    def _hidden(self, pieces: list[Segment]) -> bool:
        return self._until(END, self._between, pieces, safe_repr=False)

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

    def _until(self, marker: str, then: State, pieces: list[Segment], *, safe_repr: bool) -> bool:
        """Takes text up to a marker, and the marker; all but its beginning while it has not come."""
        text, found, rest = self._held.partition(marker)
        if not found:
            kept = held_back(text, (marker,))
            text, rest = text[: len(text) - kept], text[len(text) - kept :]
        pieces.append(text if safe_repr else Syntax(len(text)))
        self._held = rest
        if found:
            pieces.append(Syntax(len(marker)))
            self._step = then
        return bool(found)
