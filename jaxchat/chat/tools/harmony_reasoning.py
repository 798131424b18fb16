"""The thoughts of gpt-oss: messages to the channel "analysis"."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from jaxchat.chat.response.reasoning import Part
from jaxchat.chat.tools.harmony import CHANNEL, END, HARMONY, MESSAGE

if TYPE_CHECKING:
    from jaxchat.chat.prompt.tokenizer import ChatTokenizer

_RECIPIENT = b"to="
_LONGEST = 256  # bytes of a header; longer text is not one


@dataclass(frozen=True)
class HarmonyReasoning:
    """The format of thoughts that are messages to the channel "analysis".

    The parser and the grammars of `HarmonyFormat` read everything else.
    """

    markers: tuple[str, ...] = (CHANNEL, MESSAGE, END)
    in_grammar = True

    def recognises(self, template: str) -> bool:
        """Returns whether a chat template uses channels."""
        return HARMONY.recognises(template)

    def splitter(self, tokenizer: ChatTokenizer, prompt: Sequence[int]) -> HarmonySplitter:
        """Returns the state before the first header. The prompt does not matter: it ends before a header."""
        channel, message, end = (tokenizer.added_id_of(marker) or 0 for marker in self.markers)
        return HarmonySplitter(_Tokens(channel, message, end, tokenizer.bytes_of))


HARMONY_REASONING = HarmonyReasoning()


@dataclass(frozen=True)
class _Tokens:
    channel: int
    message: int
    end: int
    bytes_of: Callable[[int], bytes]


@dataclass(frozen=True)
class HarmonySplitter:
    """The state of an answer: inside a thought, or outside of thoughts, with the bytes of the header so far.

    The text of thoughts is split off. Their headers and ends are left to the parser of `HarmonyFormat`.
    """

    tokens: _Tokens
    header: bytes = b""
    thinking: bool = False
    extra_tokens: tuple[int, ...] = ()

    def next(self, token: int) -> tuple[Part, HarmonySplitter]:
        """Returns what the next token belongs to, and the state after it."""
        if self.thinking:
            if token != self.tokens.end:
                return "thought", self
            return "content", replace(self, thinking=False, header=b"")
        if token == self.tokens.message:
            return "content", replace(self, thinking=self.header.strip() == b"analysis", header=b"")
        if token == self.tokens.channel:  # a recipient may stand before the channel
            return "content", replace(self, header=self.header if _RECIPIENT in self.header else b"")
        if len(self.header) >= _LONGEST:
            return "content", self
        return "content", replace(self, header=self.header + self.tokens.bytes_of(token))
