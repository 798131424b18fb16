"""One choice of an answer while it grows: tokens in; text, log-probability entries and tool calls out."""

from __future__ import annotations

import codecs
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from jaxchat import v1
from jaxchat.chat.stop import StopMatcher
from jaxchat.chat.tokenizer import ChatTokenizer
from jaxchat.chat.toolcalls import Call, ToolCallParser
from jaxchat.types import TokenEvent, TopLogprobs

NOT_AMONG_TOP = -9999.0


@dataclass
class Delta:
    """What has become visible since the last time somebody looked."""

    text: str = ""
    entries: list[v1.TokenLogprob] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)
    calls_before: int = 0
    finish: v1.FinishReason = v1.FINISH_REASON_UNSPECIFIED

    def add(self, later: Delta) -> None:
        """Appends what became visible afterwards."""
        self.text += later.text
        self.entries += later.entries
        self.calls += later.calls
        self.finish = later.finish

    def numbered_calls(self) -> Iterable[tuple[int, Call]]:
        """The calls with their index within the choice."""
        return enumerate(self.calls, self.calls_before)


@dataclass(frozen=True, kw_only=True)
class ChoiceOptions:
    """What of a request decides how its tokens are shown."""

    stops: Sequence[str] = ()
    tools: Collection[str] = ()
    top_logprobs: int | None = None  # None: no log-probabilities
    exact_logprobs: bool = False


class ChoiceBuilder:
    """Feeds the tokens of one choice through UTF-8 decoding, the tool-call parser and the stop matcher.

    Positions count characters of content. A log-probability entry waits until text at its token's first character is
    released, and is dropped when a stop string cuts that character off.
    """

    def __init__(self, tokenizer: ChatTokenizer, options: ChoiceOptions) -> None:
        self._tokenizer = tokenizer
        self._options = options
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._parser = ToolCallParser(options.tools) if options.tools else None
        self._stop = StopMatcher(options.stops)
        self._delta = Delta()
        self._decoded = 0
        self._released = 0
        self._waiting: list[tuple[int, v1.TokenLogprob]] = []
        self._called = False
        self.tokens = 0
        self.finished = False

    def feed(self, event: TokenEvent) -> None:
        """Takes in the next token; afterwards `finished` may be set, by the engine or by a stop string."""
        self.tokens += 1
        piece = b"" if event.finish == "stop" else self._tokenizer.bytes_of(event.token)
        if self._options.top_logprobs is not None and piece:
            self._waiting.append((self._decoded, self._entry(event, piece)))
        self._show(self._decoder.decode(piece))
        if self._stop.matched:
            self._finish(v1.FINISH_REASON_STOP)
        elif event.finish:
            self._flush()
            length = event.finish == "length" and not self._stop.matched
            self._finish(v1.FINISH_REASON_LENGTH if length else v1.FINISH_REASON_STOP)

    def take(self) -> Delta:
        """What is new since the last call."""
        delta = self._delta
        self._delta = Delta(calls_before=delta.calls_before + len(delta.calls))
        return delta

    def _show(self, text: str) -> None:
        if self._tokenizer.strips_first_space and not self._decoded and text.startswith(" "):
            text = text[1:]
        self._decoded += len(text)
        if self._parser is None:
            self._release(text)
            return
        content, calls, syntax = self._parser.feed(text)
        self._delta.calls += calls
        self._called |= any(call.complete for call in calls)
        if calls:
            end = self._released + len(content)
            self._waiting = [(min(at, end), entry) for at, entry in self._waiting if at < end]
            self._decoded -= syntax
        self._release(content)

    def _release(self, text: str) -> None:
        if self._stop.matched:
            return
        shown = self._stop.feed(text)
        self._released += len(shown)
        self._delta.text += shown
        while self._waiting and self._waiting[0][0] < self._released:
            self._delta.entries.append(self._waiting.pop(0)[1])

    def _flush(self) -> None:
        """Releases what was held back for a character, a call or a stop string that did not come."""
        self._show(self._decoder.decode(b"", final=True))
        if self._parser:
            text, calls = self._parser.flush()
            self._delta.calls += calls
            self._release(text)
        if not self._stop.matched:
            held = self._stop.flush()
            self._stop = StopMatcher(())
            self._release(held)

    def _finish(self, reason: v1.FinishReason) -> None:
        if reason == v1.FINISH_REASON_STOP and self._called:
            reason = v1.FINISH_REASON_TOOL_CALLS
        self._delta.finish = reason
        self.finished = True

    def _entry(self, event: TokenEvent, piece: bytes) -> v1.TokenLogprob:
        top = event.top or _NO_TOP
        known = self._options.exact_logprobs or event.token in top.ids
        entry = v1.TokenLogprob(
            token=token_text(piece),
            bytes=piece,
            token_id=event.token,
            logprob=_finite(event.logprob) if known else NOT_AMONG_TOP,
        )
        for token, value in zip(top.ids[: self._options.top_logprobs], top.values, strict=False):
            data = self._tokenizer.bytes_of(int(token))
            other = entry.top_logprobs.add(token=token_text(data), token_id=int(token), logprob=_finite(float(value)))
            if data:
                other.bytes = data
        return entry


def token_text(piece: bytes) -> str:
    """A token's bytes as text, or printable escapes where they are no text of their own."""
    try:
        return piece.decode()
    except UnicodeDecodeError:
        return "".join(f"\\x{byte:02x}" for byte in piece)


def _finite(logprob: float) -> float:
    return max(logprob, NOT_AMONG_TOP)


_NO_TOP = TopLogprobs(np.zeros(0, np.int32), np.zeros(0, np.float32))
