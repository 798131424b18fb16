"""The formats in which models write tool calls: what each one provides, and the registry of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from jaxchat.registry import Registry

if TYPE_CHECKING:
    from jaxchat.chat.grammar.lark import AnswerRules, LarkWriter
    from jaxchat.chat.tools.stream_parser import AnswerParser


class ToolFormat(Protocol):
    """How a model writes tool calls. The grammar and the parser of its answers are both made by this object.

    A format whose calls are JSON objects is a `jaxchat.chat.tools.json_format.JsonToolFormat`.
    """

    @property
    def markers(self) -> tuple[str, ...]:
        """The control tokens of calls, which some models have as ordinary text instead."""

    @property
    def id_length(self) -> int:
        """The exact number of letters and digits that the chat template wants in an id of a call; 0 for any."""

    def recognises(self, template: str) -> bool:
        """Returns whether the source of a chat template is that of a model with this format.

        Raises:
            ModelError: the template is of a variant that cannot be served.
        """

    def parser(self, *, callable: bool, forced: bool) -> AnswerParser | None:
        """Returns a new parser of one answer, or None where its text is content as it is.

        Args:
            callable: whether the answer may hold calls.
            forced: whether it holds nothing else.
        """

    def grammar(self, rules: AnswerRules, writer: LarkWriter) -> str | None:
        """Returns the Lark grammar of an answer, or None where an answer without calls has no frame around it.

        Args:
            rules: what the answer may hold.
            writer: spells control tokens and JSON schemas.
        """


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
    """Adds a format, which `ChatConfig.tool_format` may name. Raises RegistryError where the name is taken."""
    TOOL_FORMATS.register(name, tool_format, replace=replace)


def default_tool_format() -> ToolFormat:
    """Returns the format of a model whose template says nothing about calls."""
    return TOOL_FORMATS.get(DEFAULT)


def find_tool_format(name: str, template: str) -> ToolFormat:
    """Returns the format of a name; for "auto" the latest one that recognises the source of the chat template.

    Raises:
        ModelError: the template writes calls in a way that is not known.
        RegistryError: there is no format of that name.
    """
    if name != "auto":
        return TOOL_FORMATS.get(name)
    recognised = (tool_format for _, tool_format in TOOL_FORMATS.items() if tool_format.recognises(template))
    return next(recognised, None) or default_tool_format()
