"""Formats in which models write tool calls, and their registry."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from jaxchat.registry import Registry

if TYPE_CHECKING:
    from jaxchat.chat.grammar.lark import AnswerRules, LarkWriter
    from jaxchat.chat.tools.stream_parser import AnswerParser


class ToolFormat(Protocol):
    """A format in which a model writes tool calls. It makes the grammar and the parser of answers.

    `jaxchat.chat.tools.json_format.JsonToolFormat` describes formats whose calls are JSON objects.
    """

    @property
    def markers(self) -> tuple[str, ...]:
        """The control tokens of calls. Some models write them as ordinary text instead."""

    @property
    def id_length(self) -> int:
        """The number of letters and digits that the chat template requires in the id of a call; 0 for any."""

    def recognises(self, template: str) -> bool:
        """Returns whether the source of a chat template uses this format.

        Raises:
            ModelError: the template uses an unsupported variant of this format.
        """

    def parser(self, *, callable: bool, forced: bool) -> AnswerParser | None:
        """Returns a new parser of one answer, or None if all its text is content.

        Args:
            callable: whether calls are allowed.
            forced: whether the answer consists of calls only.
        """

    def grammar(self, rules: AnswerRules, writer: LarkWriter) -> str | None:
        """Returns the Lark grammar of an answer, or None if the format adds nothing to an answer without calls.

        Args:
            rules: the rules of the answer.
            writer: writes control tokens and JSON schemas.
        """


@runtime_checkable
class WritesCalls(Protocol):
    """A tool format that can write calls as text, for chat templates that do not print tools or calls."""

    def write_calls(self, calls: Sequence[tuple[str, str]]) -> str:
        """Returns the text of an answer that consists of calls, each a name and its arguments as JSON text."""


TOOL_FORMATS: Registry[ToolFormat] = Registry(
    "tool format",
    "jaxchat.tool_formats",
    {
        "hermes": "jaxchat.chat.tools.hermes:HERMES",
        "llama3": "jaxchat.chat.tools.llama3:LLAMA3",
        "mistral": "jaxchat.chat.tools.mistral:MISTRAL",
        "harmony": "jaxchat.chat.tools.harmony:HARMONY",
    },
)
DEFAULT = "hermes"  # the format of most models


def register_tool_format(name: str, tool_format: ToolFormat, *, replace: bool = False) -> None:
    """Adds a format, which `ChatConfig.tool_format` may name. Raises RegistryError if the name is taken."""
    TOOL_FORMATS.register(name, tool_format, replace=replace)


def default_tool_format() -> ToolFormat:
    """Returns the format of a model whose template does not mention calls."""
    return TOOL_FORMATS.get(DEFAULT)


def find_tool_format(name: str, template: str) -> ToolFormat:
    """Returns a format by name. For "auto", returns the latest that recognises the chat template.

    Raises:
        ModelError: the template uses an unsupported format of calls.
        RegistryError: no format has that name.
    """
    if name != "auto":
        return TOOL_FORMATS.get(name)
    recognised = (tool_format for _, tool_format in TOOL_FORMATS.items() if tool_format.recognises(template))
    return next(recognised, None) or default_tool_format()
