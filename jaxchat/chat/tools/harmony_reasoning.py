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

    `HarmonyFormat` handles all other parts of an answer.
    """

    markers: tuple[str, ...] = (CHANNEL, MESSAGE, END)
    in_grammar = True

    def recognises(self, template: str) -> bool:
        """Returns whether a chat template uses channels."""
        return HARMONY.recognises(template)

    def splitter(self, tokenizer: ChatTokenizer, prompt: Sequence[int]) -> HarmonySplitter:
        """Returns the state before the first header. Ignores `prompt`, because a prompt always ends before a header."""
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
    """The state of an answer: inside a thought, or outside of thoughts.

    Outside of thoughts, `header` has the bytes of the current header so far. Only the text of a thought belongs to the
    thoughts. The header and the end of a thought are content, which the parser of `HarmonyFormat` drops.
    """

    tokens: _Tokens
    header: bytes = b""
    thinking: bool = False
    extra_tokens: tuple[int, ...] = ()

    def next(self, token: int) -> tuple[Part, HarmonySplitter]:
        """Returns what the next token belongs to, and the splitter's state after this token."""
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
