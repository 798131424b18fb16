"""Formats in which models mark their thoughts, and their registry. Answers leave thoughts out."""

from __future__ import annotations

from typing import Protocol

from jaxchat.chat.tools.stream_parser import AnswerParser, Segment
from jaxchat.registry import Registry


class ReasoningFormat(Protocol):
    """A format in which a model marks its thoughts."""

    @property
    def markers(self) -> tuple[str, ...]:
        """The control tokens around thoughts. Some models write these markers as ordinary text instead."""

    def recognises(self, template: str) -> bool:
        """Returns whether the source of a chat template uses this format."""

    def parser(self, answer: AnswerParser | None) -> AnswerParser | None:
        """Returns a new parser of one answer, or None if all text is content.

        The parser converts thoughts to `Syntax`, which leaves them out of the answer.

        Args:
            answer: the tool format's parser for the text outside thoughts; None if that text is content.
        """


class ThoughtFilter:
    """A parser that removes thoughts from an answer before another parser reads the remaining text."""

    def __init__(self, thoughts: AnswerParser, answer: AnswerParser | None) -> None:
        """Combines two parsers.

        Args:
            thoughts: converts thoughts to `Syntax` and passes other text on.
            answer: parses the text that `thoughts` passes on; None if that text is content.
        """
        self._thoughts, self._answer = thoughts, answer

    @property
    def complete(self) -> int:
        """The number of calls that have ended."""
        return self._answer.complete if self._answer else 0

    def feed(self, text: str) -> list[Segment]:
        """Returns the segments that the new `text` completes, in order."""
        return [part for segment in self._thoughts.feed(text) for part in self._read(segment)]

    def flush(self) -> str:
        """Ends the answer. Returns the text held back that turns out to be content."""
        text = "".join(part for part in self._read(self._thoughts.flush()) if isinstance(part, str))
        return text + (self._answer.flush() if self._answer else "")

    def _read(self, segment: Segment) -> list[Segment]:
        return self._answer.feed(segment) if self._answer and isinstance(segment, str) else [segment]


REASONING_FORMATS: Registry[ReasoningFormat] = Registry(
    "reasoning format", "jaxchat.reasoning_formats", {"harmony": "jaxchat.chat.tools.harmony:HARMONY_REASONING"}
)


def register_reasoning_format(name: str, reasoning: ReasoningFormat, *, replace: bool = False) -> None:
    """Adds a format that `ChatConfig.reasoning_format` may name.

    Raises:
        RegistryError: the name is taken and `replace` is false.
    """
    REASONING_FORMATS.register(name, reasoning, replace=replace)


def find_reasoning_format(name: str, template: str) -> ReasoningFormat | None:
    """Returns a format by name, or None for "none".

    For "auto", returns the format registered last among those that recognise the chat template, or None.

    Args:
        name: a registered name, "auto" or "none".
        template: the source of the chat template.

    Raises:
        RegistryError: no format has that name.
    """
    if name == "none":
        return None
    if name != "auto":
        return REASONING_FORMATS.get(name)
    recognised = (reasoning for _, reasoning in REASONING_FORMATS.items() if reasoning.recognises(template))
    return next(recognised, None)
