"""Formats in which models mark their thoughts, and their registry.

A marker is recognised by its token id. Its spelling alone is not enough, because other tokens may spell the same text.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, Protocol

import numpy as np

from jaxchat.errors import ModelError
from jaxchat.registry import Registry, RegistryError

if TYPE_CHECKING:
    from jaxchat.chat.prompt.tokenizer import ChatTokenizer

Part = Literal["thought", "content", "marker"]
"""Tells whether a token belongs to the thoughts, to the rest of the answer, or to neither."""


class ThoughtSplitter(Protocol):
    """A splitter that tells the thoughts of one answer from its content.

    Splitters are immutable. `next` returns a new splitter.
    """

    @property
    def thinking(self) -> bool:
        """Whether the next token continues or ends thoughts."""

    @property
    def extra_tokens(self) -> tuple[int, ...]:
        """Tokens that may come next but are not content: an opening marker, or line breaks beside a marker.

        Empty inside thoughts and inside the answer.
        """

    def next(self, token: int) -> tuple[Part, ThoughtSplitter]:
        """Returns what the next token belongs to, and the splitter's state after this token."""


class ReasoningFormat(Protocol):
    """A format in which a model marks its thoughts."""

    @property
    def markers(self) -> tuple[str, ...]:
        """The spellings of the tokens around thoughts."""

    @property
    def in_grammar(self) -> bool:
        """Whether the grammars of the tool format allow thoughts. If not, the grammars begin after the thoughts."""

    def recognises(self, template: str) -> bool:
        """Returns whether the source of a chat template uses this format."""

    def splitter(self, tokenizer: ChatTokenizer, prompt: Sequence[int]) -> ThoughtSplitter:
        """Returns a splitter at the beginning of an answer.

        Args:
            tokenizer: the model's tokenizer, in which every marker is an added token.
            prompt: the prompt's last tokens. The chat template may have opened or closed thoughts there.
        """


_TAGS = "jaxchat.chat.response.thought_tags"
REASONING_FORMATS: Registry[ReasoningFormat] = Registry(
    "reasoning format",
    "jaxchat.reasoning_formats",
    {
        "think": f"{_TAGS}:THINK",
        "mistral": f"{_TAGS}:MISTRAL",
        "seed-oss": f"{_TAGS}:SEED_OSS",
        "command-a": f"{_TAGS}:COMMAND_A",
        "gemma-4": f"{_TAGS}:GEMMA4",
        "harmony": "jaxchat.chat.tools.harmony_reasoning:HARMONY_REASONING",
    },
)
_TAIL = 32  # tokens of the prompt's end in which a chat template may open or close thoughts


def register_reasoning_format(name: str, reasoning: ReasoningFormat, *, replace: bool = False) -> None:
    """Adds a format that `ChatConfig.reasoning_format` may name.

    Raises:
        RegistryError: the name is taken and `replace` is false, or the object has no method `splitter`.
    """
    _check(name, reasoning)
    REASONING_FORMATS.register(name, reasoning, replace=replace)


def find_reasoning_format(name: str, template: str) -> ReasoningFormat | None:
    """Returns a format by name, or None for "none".

    For "auto", returns the format that recognises the chat template, or None if no format does. If several formats do,
    returns the format that was registered last.

    Args:
        name: a registered name, "auto" or "none".
        template: the source of the chat template.

    Raises:
        RegistryError: no format has that name, or a format that is tried cannot be imported or has no method
            `splitter`. For "auto", formats are tried until one recognises the template.
    """
    if name == "none":
        return None
    if name != "auto":
        return _check(name, REASONING_FORMATS.get(name))
    for known, reasoning in REASONING_FORMATS.items():
        if _check(known, reasoning).recognises(template):
            return reasoning
    return None


def check_markers(reasoning: ReasoningFormat | None, name: str, tokenizer: ChatTokenizer) -> None:
    """Raises `ModelError` if the operator named a format and one of its markers is not a token of the model."""
    missing = _missing(reasoning, tokenizer) if reasoning and name != "auto" else []
    if missing:
        raise ModelError(f"reasoning_format {name!r}: the tokenizer has no added token {missing[0]!r}")


def facts_of_thoughts(reasoning: ReasoningFormat | None, tokenizer: ChatTokenizer) -> list[tuple[str, str]]:
    """Returns the lines of the start-up message about thoughts, as (name, value); none for a model without thoughts."""
    if reasoning is None:
        return []
    if missing := _missing(reasoning, tokenizer):
        return [("thoughts", f"left in the content: the tokenizer has no added token {missing[0]}")]
    return [("thoughts", f"reasoning_content, marked by {' '.join(reasoning.markers)}")]


def thought_splitter(
    reasoning: ReasoningFormat | None, tokenizer: ChatTokenizer, prompt: np.ndarray
) -> ThoughtSplitter | None:
    """Returns a splitter at the beginning of an answer, or None if thoughts stay in the content.

    Args:
        reasoning: how the model marks thoughts; None if it does not mark them.
        tokenizer: the model's tokenizer.
        prompt: the prompt's token ids, i32 `[tokens]`.
    """
    if reasoning is None or _missing(reasoning, tokenizer):
        return None
    return reasoning.splitter(tokenizer, prompt[-_TAIL:].tolist())


def _missing(reasoning: ReasoningFormat, tokenizer: ChatTokenizer) -> list[str]:
    return [marker for marker in reasoning.markers if tokenizer.added_id_of(marker) is None]


def _check(name: str, reasoning: ReasoningFormat) -> ReasoningFormat:
    if not hasattr(reasoning, "splitter"):
        message = f"reasoning format {name!r} has no method splitter; parsers of text are not supported any more"
        raise RegistryError(message)
    return reasoning
