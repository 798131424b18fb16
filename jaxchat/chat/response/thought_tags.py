"""Thoughts between an opening and a closing token, such as `<think>` and `</think>`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from jaxchat.chat.response.reasoning import Part

if TYPE_CHECKING:
    from jaxchat.chat.prompt.tokenizer import ChatTokenizer


@dataclass(frozen=True)
class TagReasoning:
    """A format of thoughts between two tokens.

    Args:
        opening: the spelling of the token before thoughts.
        closing: the spelling of the token after thoughts.
        labelled: whether a line that names the channel follows the opening. This line is not a part of the thoughts.
    """

    opening: str
    closing: str
    labelled: bool = False

    in_grammar = False

    @property
    def markers(self) -> tuple[str, ...]:
        """The spellings of the two tokens."""
        return self.opening, self.closing

    def recognises(self, template: str) -> bool:
        """Returns whether a chat template contains the closing token. Some templates lack the opening."""
        return self.closing in template

    def splitter(self, tokenizer: ChatTokenizer, prompt: Sequence[int]) -> TagSplitter:
        """Returns a splitter at the beginning of an answer: inside thoughts if the prompt ends with the opening.

        Args:
            tokenizer: the model's tokenizer, in which both markers are added tokens.
            prompt: the prompt's last tokens.
        """
        opening, closing = map(tokenizer.added_id_of, self.markers)
        assert opening is not None and closing is not None
        breaks = {tokenizer.encode_text(text)[-1] for text in ("\n", "\n\n")}
        tags = _Tags(
            opening=opening,
            closing=closing,
            breaks=tuple(token for token in sorted(breaks) if _is_break(tokenizer.bytes_of(token))),
            anywhere=opening in tokenizer.special_tokens,
            labelled=self.labelled,
            bytes_of=tokenizer.bytes_of,
        )
        return tags.begin(prompt)


_BREAKS = 2
THINK = TagReasoning("<think>", "</think>")
MISTRAL = TagReasoning("[THINK]", "[/THINK]")
SEED_OSS = TagReasoning("<seed:think>", "</seed:think>")
COMMAND_A = TagReasoning("<|START_THINKING|>", "<|END_THINKING|>")
GEMMA4 = TagReasoning("<|channel>", "<channel|>", labelled=True)


@dataclass(frozen=True, kw_only=True)
class _Tags:
    """The tokens of a format in one tokenizer."""

    opening: int
    closing: int
    breaks: tuple[int, ...]  # usual tokens of one or two line breaks
    anywhere: bool  # whether thoughts may also begin after other text
    labelled: bool
    bytes_of: Callable[[int], bytes]

    def begin(self, prompt: Sequence[int]) -> TagSplitter:
        """Returns the state after a prompt. A marker in the prompt has an effect if only white space follows it."""
        # Other markers may be text of messages.
        last = next((token for token in reversed(prompt) if not self.bytes_of(token).isspace()), None)
        if last == self.opening:
            return TagSplitter(self, "thought")
        complete = last == self.closing != prompt[-1]  # the prompt has the line breaks too
        return TagSplitter(self, breaks=0 if complete else _BREAKS)


@dataclass(frozen=True)
class TagSplitter:
    """A splitter of an answer, in one of four phases.

    - "start": before the first text.
    - "label": in the line that names the channel of thoughts.
    - "thought": inside thoughts.
    - "answer": after the first text.

    Text cannot contain a control token. An opening that is a control token therefore opens thoughts wherever it occurs.
    An opening that is an ordinary token opens thoughts only before the first text. After the first text, such an
    opening is text too, because the model may be writing about the marker.

    Models write one or two tokens of line breaks after the closing. Some models also write them before the opening.
    These line breaks belong to the markers.
    """

    tags: _Tags
    phase: Literal["start", "label", "thought", "answer"] = "start"
    breaks: int = 0  # number of tokens of line breaks that may still come and are not content

    @property
    def thinking(self) -> bool:
        """Whether the next token continues or ends thoughts."""
        return self.phase in ("label", "thought")

    @property
    def extra_tokens(self) -> tuple[int, ...]:
        """The opening and line breaks, which may come before the first text. Empty outside the phase "start"."""
        breaks = self.tags.breaks if self.breaks else ()
        return (self.tags.opening, *breaks) if self.phase == "start" else ()

    def next(self, token: int) -> tuple[Part, TagSplitter]:
        """Returns what the next token belongs to, and the splitter's state after this token."""
        return self._inside(token) if self.thinking else self._outside(token)

    def _inside(self, token: int) -> tuple[Part, TagSplitter]:
        if token == self.tags.closing:
            return "marker", replace(self, phase="start", breaks=_BREAKS)
        if self.phase == "thought":
            return "thought", self
        return "marker", replace(self, phase="thought") if b"\n" in self.tags.bytes_of(token) else self

    def _outside(self, token: int) -> tuple[Part, TagSplitter]:
        begins = self.phase == "start"
        if token == self.tags.opening and (begins or self.tags.anywhere):
            return "marker", replace(self, phase="label" if self.tags.labelled else "thought")
        if begins and token == self.tags.closing:  # of thoughts that the prompt has closed already
            return "marker", self
        data = self.tags.bytes_of(token)
        if self.breaks and _is_break(data):
            return "marker", replace(self, breaks=self.breaks - 1)
        if begins and data.strip():
            return "content", replace(self, phase="answer", breaks=0)
        return "content", replace(self, breaks=0) if self.breaks else self


def _is_break(data: bytes) -> bool:
    """Returns whether the bytes of a token are line breaks."""
    return bool(data) and not data.strip(b"\n")
