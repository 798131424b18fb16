"""Converts the tokens of one choice, as they arrive, to thoughts, text, log-probability entries and tool calls."""

from __future__ import annotations

import codecs
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from jaxchat import v1
from jaxchat.chat.prompt.tokenizer import ChatTokenizer
from jaxchat.chat.response.call_ids import NO_PROMPT, CallIds
from jaxchat.chat.response.prediction import Prediction, PredictionMatcher
from jaxchat.chat.response.reasoning import ThoughtSplitter
from jaxchat.chat.response.stop import StopMatcher
from jaxchat.chat.response.thought_text import ThoughtText
from jaxchat.chat.tools.format import ToolFormat
from jaxchat.chat.tools.signatures import NO_SIGNATURES, Signatures
from jaxchat.chat.tools.stream_parser import CallPart, Segment, Syntax
from jaxchat.types import TokenEvent, TopLogprobs

NOT_AMONG_TOP = -9999.0
_ID_BYTES = 8  # approximate memory of a token's id
_ENTRY_BYTES = 64  # approximate memory of one token in a log-probability entry


@dataclass
class ChoiceDelta:
    """The output of a choice since the last delta.

    Attributes:
        entries: the log-probabilities of the tokens of `text`; [] if the request does not ask for them.
        offsets: for each of `entries`, the index of its token's first character in the text of the choice.
        tokens: the ids of all new tokens; [] if the request does not ask for them.
        drafts: the places of accepted drafts among all tokens of the choice; [] if the request does not ask for them.
    """

    thoughts: str = ""
    text: str = ""
    entries: list[v1.TokenLogprob] = field(default_factory=list)
    offsets: list[int] = field(default_factory=list)
    calls: list[CallPart] = field(default_factory=list)
    tokens: list[int] = field(default_factory=list)
    drafts: list[int] = field(default_factory=list)
    finish: v1.FinishReason = v1.FINISH_REASON_UNSPECIFIED

    @property
    def empty(self) -> bool:
        """Whether the delta has no output except token ids."""
        return not (self.thoughts or self.text or self.entries or self.calls or self.finish)

    def add_call(self, part: CallPart) -> None:
        """Adds a part of a call. Joins it with the last part if the two belong to the same call."""
        if self.calls and self.calls[-1].index == part.index:
            self.calls[-1].arguments += part.arguments
        else:
            self.calls.append(part)


@dataclass(frozen=True, kw_only=True)
class ChoiceOptions:
    """The settings of a request that determine how its tokens become output."""

    stops: Sequence[str] = ()
    min_tokens: int = 0  # no stop string may end in the text of the first `min_tokens` tokens
    token_ids: bool = False  # whether deltas have token ids
    accepted_drafts: bool = False  # whether deltas tell accepted drafts
    calls: ToolFormat | None = None  # how calls, and answers without calls, are written; None: not extracted from text
    splitter: ThoughtSplitter | None = None  # tells thoughts from the answer; None: thoughts are content
    signatures: Signatures = NO_SIGNATURES  # the functions that may be called
    callable: bool = True  # whether calls are allowed
    forced: bool = False  # whether the answer consists of calls only
    call_ids: CallIds = NO_PROMPT
    called: v1.FinishReason = v1.FINISH_REASON_TOOL_CALLS  # the finish reason of an answer with calls
    top_logprobs: int | None = None  # None: without log-probabilities
    exact_logprobs: bool = False
    every_token: bool = False  # whether tokens without text have log-probability entries too
    continues: bool = False  # whether the text continues another one, so that a leading space belongs to it
    prediction: Prediction | None = None  # compared with the tokens of the choice, for the usage


class ChoiceBuilder:
    """A pipeline for the tokens of one choice: thoughts, UTF-8 decoding, the tool-call parser and the stop matcher.

    Thoughts are separated first. Stop strings, calls and log-probability entries exist only outside thoughts.

    A token's log-probability entry is released together with the token's first character. The entry is dropped if a
    stop string cuts off that character.

    Args:
        tokenizer: the model's tokenizer.
        options: the settings of the request.
        choice: index of the choice.

    Attributes:
        tokens: number of tokens fed so far.
        reasoning_tokens: number of tokens fed so far that are thoughts.
        buffered_bytes: approximate size of the output that `take` has not returned yet.
        reason: the finish reason; FINISH_REASON_UNSPECIFIED while the choice runs.
    """

    def __init__(self, tokenizer: ChatTokenizer, options: ChoiceOptions, choice: int = 0) -> None:
        self._tokenizer = tokenizer
        self._options = options
        self._choice = choice
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._splitter = options.splitter
        self._thoughts = ThoughtText()
        calls, self._parser = options.calls, None
        if calls:
            self._parser = calls.parser(callable=options.callable, forced=options.forced, signatures=options.signatures)
        self._markers = calls.markers if calls and self._parser else ()
        self._stop = StopMatcher(options.stops)
        self._delta = ChoiceDelta()
        # whether a space that the tokenizer added may come
        self._first_space = tokenizer.strips_first_space and not options.continues
        self._decoded = 0
        self._content = 0
        self._released = 0
        self._unstoppable = 0  # position in the content up to which no stop string may end
        self._waiting: deque[tuple[int, v1.TokenLogprob]] = deque()
        self._matcher = PredictionMatcher(options.prediction) if options.prediction else None
        self.tokens = self.reasoning_tokens = 0
        self.buffered_bytes = 0
        self.reason = v1.FINISH_REASON_UNSPECIFIED

    @property
    def finished(self) -> bool:
        return self.reason != v1.FINISH_REASON_UNSPECIFIED

    @property
    def accepted_prediction_tokens(self) -> int:
        """The number of prediction tokens that the choice repeats so far; 0 without a prediction."""
        return self._matcher.accepted if self._matcher else 0

    def feed(self, event: TokenEvent) -> None:
        """Processes the next token. Sets `reason`, which makes `finished` true, if the token ends the choice."""
        self.tokens += 1
        if self._matcher:
            self._matcher.append(event.token)
        if self._options.token_ids:
            self._delta.tokens.append(event.token)
            self.buffered_bytes += _ID_BYTES
        if self._options.accepted_drafts and event.drafted:
            self._delta.drafts.append(self.tokens - 1)
        if self._is_content(event):
            self._answer(event)
        if self._stop.matched:
            self._finish(v1.FINISH_REASON_STOP)
        elif event.finish:
            self._flush()
            length = event.finish == "length" and not self._stop.matched
            self._finish(v1.FINISH_REASON_LENGTH if length else v1.FINISH_REASON_STOP)

    def take(self) -> ChoiceDelta:
        """Returns the output since the last call. Token ids and drafts without other output wait for a later call."""
        if self._delta.empty:
            self.buffered_bytes = _ID_BYTES * len(self._delta.tokens)
            return ChoiceDelta()
        delta, self._delta, self.buffered_bytes = self._delta, ChoiceDelta(), 0
        return delta

    def _is_content(self, event: TokenEvent) -> bool:
        """Returns whether a token is content, or the stop token. Processes thoughts, and drops markers."""
        if self._splitter is None or event.finish == "stop":
            return True
        part, self._splitter = self._splitter.next(event.token)
        if part == "thought":
            self._think(self._tokenizer.bytes_of(event.token))
            return False
        self._release_thoughts(self._thoughts.close())
        return part == "content"

    def _think(self, piece: bytes) -> None:
        self.reasoning_tokens += 1
        if self._first_space and piece:
            piece, self._first_space = piece.removeprefix(b" "), False
        self._release_thoughts(self._thoughts.feed(piece))

    def _release_thoughts(self, text: str) -> None:
        self._delta.thoughts += text
        self.buffered_bytes += len(text)

    def _answer(self, event: TokenEvent) -> None:
        """Processes the next token of the answer outside thoughts."""
        piece = b"" if event.finish == "stop" else self._bytes_of(event.token)
        if self._options.top_logprobs is not None and (piece or self._options.every_token):
            self._waiting.append((self._decoded, self._entry(event, piece)))
        self._show(self._decoder.decode(piece))

    def _bytes_of(self, token: int) -> bytes:
        name = self._tokenizer.special_tokens.get(token)
        return name.encode() if name and name in self._markers else self._tokenizer.bytes_of(token)

    def _show(self, text: str) -> None:
        if self._first_space and text:
            text, self._first_space = text.removeprefix(" "), False
        self._decoded += len(text)
        if self.tokens <= self._options.min_tokens:
            self._unstoppable = self._decoded
        for piece in self._parser.feed(text) if self._parser else [text]:
            if not self._stop.matched:
                self._place(piece)

    def _place(self, piece: Segment) -> None:
        if isinstance(piece, str):
            ignored = min(max(0, self._unstoppable - self._content), len(piece))
            self._content += len(piece)
            self._release(self._stop.feed(piece, ignored=ignored))
        elif isinstance(piece, Syntax):
            self._release(self._stop.flush())
            self._skip(piece)
        else:
            if piece.name:
                piece.id = self._options.call_ids.id_of(self._choice, piece.index)
            self._delta.add_call(piece)
            self.buffered_bytes += len(piece.arguments)

    def _skip(self, size: int) -> None:
        """Removes the next `size` characters of the text, and the entries of tokens that begin in these characters."""
        start, end = self._content, self._content + size
        self._waiting = deque(
            (position if position < start else position - size, entry)
            for position, entry in self._waiting
            if not start <= position < end
        )
        self._decoded -= size
        if self._unstoppable > start:
            self._unstoppable = max(start, self._unstoppable - size)

    def _release(self, text: str) -> None:
        self._released += len(text)
        self._delta.text += text
        self.buffered_bytes += len(text)
        while self._waiting and self._waiting[0][0] < self._released:
            self._release_entry()

    def _release_entry(self) -> None:
        position, entry = self._waiting.popleft()
        self._delta.entries.append(entry)
        self._delta.offsets.append(position)
        self.buffered_bytes += _ENTRY_BYTES * (1 + (self._options.top_logprobs or 0))

    def _flush(self) -> None:
        """Releases text that was held back as the possible beginning of a character, a call or a stop string."""
        self._release_thoughts(self._thoughts.close())
        self._show(self._decoder.decode(b"", final=True))
        if self._parser and not self._stop.matched:
            self._place(self._parser.flush())
        if not self._stop.matched:
            self._release(self._stop.flush())
            while self._waiting and self._options.every_token:  # of tokens without text at the end
                self._release_entry()

    def _finish(self, reason: v1.FinishReason) -> None:
        called = self._parser and self._parser.complete and not self._stop.matched
        if reason == v1.FINISH_REASON_STOP and called:
            reason = self._options.called
        self._delta.finish = self.reason = reason

    def _entry(self, event: TokenEvent, piece: bytes) -> v1.TokenLogprob:
        top = event.top or _NO_TOP
        known = self._options.exact_logprobs or event.token in top.ids
        entry = v1.TokenLogprob(
            token=self._name(event.token, piece),
            token_id=event.token,
            logprob=_finite(event.logprob) if known else NOT_AMONG_TOP,
        )
        if piece:
            entry.bytes = piece
        for token, value in zip(top.ids[: self._options.top_logprobs], top.values, strict=False):
            data = self._tokenizer.bytes_of(int(token))
            name = self._name(int(token), data)
            other = entry.top_logprobs.add(token=name, token_id=int(token), logprob=_finite(float(value)))
            if data:
                other.bytes = data
        return entry

    def _name(self, token: int, data: bytes) -> str:
        """Returns the text of a token. With `every_token`, returns the spelling of a token that has no text."""
        if data or not self._options.every_token:
            return token_text(data)
        return self._tokenizer.spelling_of(token) or ""


def token_text(piece: bytes) -> str:
    """Returns a token's bytes as text, or as printable escapes if they are not valid UTF-8."""
    try:
        return piece.decode()
    except UnicodeDecodeError:
        return "".join(f"\\x{byte:02x}" for byte in piece)


def _finite(logprob: float) -> float:
    return max(logprob, NOT_AMONG_TOP)


_NO_TOP = TopLogprobs(np.zeros(0, np.int32), np.zeros(0, np.float32))
