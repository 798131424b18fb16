"""The formats in which models mark their thoughts, which are left out of answers, and the registry of them."""

from __future__ import annotations

from typing import Protocol

from jaxchat.chat.tools.stream_parser import AnswerParser, Segment
from jaxchat.registry import Registry


class ReasoningFormat(Protocol):
    """How a model marks its thoughts."""

    @property
    def markers(self) -> tuple[str, ...]:
        """The control tokens around thoughts, which some models have as ordinary text instead."""

    def recognises(self, template: str) -> bool:
        """Returns whether the source of a chat template is that of a model with this format."""

    def parser(self, answer: AnswerParser | None) -> AnswerParser | None:
        """Returns a new parser of one answer, thoughts included, which become `Syntax`.

        Args:
            answer: the tool format's parser of what is not a thought; None where that is content as it is.
        """


class ThoughtFilter:
    """Takes thoughts out of an answer by one parser before another reads the rest."""

    def __init__(self, thoughts: AnswerParser, answer: AnswerParser | None) -> None:
        """Nothing is read yet.

        Args:
            thoughts: makes `Syntax` of thoughts and passes on all else as text.
            answer: reads that text; None where it is content as it is.
        """
        self._thoughts, self._answer = thoughts, answer

    @property
    def complete(self) -> int:
        """The number of calls that have ended."""
        return self._answer.complete if self._answer else 0

    def feed(self, text: str) -> list[Segment]:
        """Returns what the text turns out to be, in order."""
        return [part for segment in self._thoughts.feed(text) for part in self._read(segment)]

    def flush(self) -> str:
        """Returns, at the end of the answer, held text that is content after all."""
        text = "".join(part for part in self._read(self._thoughts.flush()) if isinstance(part, str))
        return text + (self._answer.flush() if self._answer else "")

    def _read(self, segment: Segment) -> list[Segment]:
        return self._answer.feed(segment) if self._answer and isinstance(segment, str) else [segment]


REASONING_FORMATS: Registry[ReasoningFormat] = Registry(
    "reasoning format", "jaxchat.reasoning_formats", {"harmony": "jaxchat.chat.tools.harmony:HARMONY_REASONING"}
)


def register_reasoning_format(name: str, reasoning: ReasoningFormat, *, replace: bool = False) -> None:
    """Adds a format, which `ChatConfig.reasoning_format` may name. Raises RegistryError where the name is taken."""
    REASONING_FORMATS.register(name, reasoning, replace=replace)


def find_reasoning_format(name: str, template: str) -> ReasoningFormat | None:
    """Returns the format of a name, None for "none"; for "auto" the latest one that recognises the chat template.

    Raises:
        RegistryError: there is no format of that name.
    """
    if name == "none":
        return None
    if name != "auto":
        return REASONING_FORMATS.get(name)
    recognised = (reasoning for _, reasoning in REASONING_FORMATS.items() if reasoning.recognises(template))
    return next(recognised, None)
