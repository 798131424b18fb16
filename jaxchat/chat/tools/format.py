"""Tool formats, in which models write tool calls, and their registry."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from jaxchat.registry import Registry

if TYPE_CHECKING:
    from jaxchat.chat.grammar.lark import AnswerRules, LarkWriter
    from jaxchat.chat.tools.signatures import Signatures
    from jaxchat.chat.tools.stream_parser import AnswerParser


class ToolFormat(Protocol):
    """A format in which a model writes tool calls. It makes the grammar and the parser of answers.

    `jaxchat.chat.tools.json_format.JsonToolFormat` describes formats whose calls are JSON objects.
    """

    @property
    def markers(self) -> tuple[str, ...]:
        """The spellings of the tokens around calls. A tokenizer without such a token treats its spelling as text."""

    @property
    def id_length(self) -> int:
        """The number of letters and digits that the chat template requires in the id of a call; 0 for any."""

    def recognises(self, template: str) -> bool:
        """Returns whether the source of a chat template uses this format.

        Raises:
            ModelError: the template uses an unsupported variant of this format.
        """

    def parser(self, *, callable: bool, forced: bool, signatures: Signatures) -> AnswerParser | None:
        """Returns a new parser of one answer, or None if the whole text of the answer is content.

        Args:
            callable: whether calls are allowed.
            forced: whether the answer consists of calls only.
            signatures: the types of the functions' arguments, for formats that do not write arguments as JSON.
        """

    def grammar(self, rules: AnswerRules, writer: LarkWriter) -> str | None:
        """Returns the Lark grammar of an answer, or None if calls are not allowed and the format adds nothing to text.

        Args:
            rules: the text and calls that the answer may have.
            writer: writes control tokens and JSON schemas.

        Raises:
            UnsupportedSchema: the format cannot write the arguments of a function.
        """


@runtime_checkable
class WritesCalls(Protocol):
    """A tool format that can write calls as text, for chat templates that do not print tools or calls."""

    def write_calls(self, calls: Sequence[tuple[str, str]]) -> str:
        """Returns the text of an answer that consists of `calls`: pairs of a name and arguments as JSON text."""


@runtime_checkable
class LimitsEfforts(Protocol):
    """A tool format whose models know only certain reasoning efforts, although their templates print any value."""

    @property
    def efforts(self) -> tuple[str, ...]:
        """The values of `reasoning_effort` that the models know."""


TOOL_FORMATS: Registry[ToolFormat] = Registry(
    "tool format",
    "jaxchat.tool_formats",
    {
        "hermes": "jaxchat.chat.tools.hermes:HERMES",
        "llama3": "jaxchat.chat.tools.llama3:LLAMA3",
        "mistral": "jaxchat.chat.tools.mistral:MISTRAL",
        "mistral-nemo": "jaxchat.chat.tools.mistral:MISTRAL_NEMO",
        "mistral-args": "jaxchat.chat.tools.mistral:MISTRAL_ARGS",
        "mistral-call-id": "jaxchat.chat.tools.mistral:MISTRAL_CALL_ID",
        "pythonic": "jaxchat.chat.tools.pythonic:PYTHONIC",
        "lfm2": "jaxchat.chat.tools.pythonic:LFM2",
        "json-list": "jaxchat.chat.tools.lists:JSON_LIST",
        "apriel": "jaxchat.chat.tools.lists:APRIEL",
        "phi4-mini": "jaxchat.chat.tools.lists:PHI4",
        "granite": "jaxchat.chat.tools.lists:GRANITE",
        "functools": "jaxchat.chat.tools.lists:FUNCTOOLS",
        "command-r": "jaxchat.chat.tools.command_r:COMMAND_R",
        "command-r7b": "jaxchat.chat.tools.command_r:COMMAND_R7B",
        "apertus": "jaxchat.chat.tools.named_formats:APERTUS",
        "mcp": "jaxchat.chat.tools.named_formats:MCP",
        "gigachat-3": "jaxchat.chat.tools.gigachat:GIGACHAT3",
        "gigachat-3.1": "jaxchat.chat.tools.gigachat:GIGACHAT31",
        "functionary-3.2": "jaxchat.chat.tools.functionary:FUNCTIONARY_32",
        "functionary": "jaxchat.chat.tools.named_formats:FUNCTIONARY",
        "deepseek-v3.1": "jaxchat.chat.tools.named_formats:DEEPSEEK_V31",
        "deepseek-r1": "jaxchat.chat.tools.named_formats:DEEPSEEK_R1",
        "deepseek-v3.2": "jaxchat.chat.tools.xml_formats:DEEPSEEK_V32",
        "deepseek-v4": "jaxchat.chat.tools.xml_formats:DEEPSEEK_V4",
        "kimi-k2": "jaxchat.chat.tools.named_formats:KIMI_K2",
        "glm-4.5": "jaxchat.chat.tools.xml_formats:GLM45",
        "glm-4.7": "jaxchat.chat.tools.xml_formats:GLM47",
        "minimax-m2": "jaxchat.chat.tools.xml_formats:MINIMAX_M2",
        "seed-oss": "jaxchat.chat.tools.xml_formats:SEED_OSS",
        "gemma-4": "jaxchat.chat.tools.gemma4:GEMMA4",
        "qwen3-coder": "jaxchat.chat.tools.qwen3_coder:QWEN3_CODER",
        "harmony": "jaxchat.chat.tools.harmony:HARMONY",
    },
)
DEFAULT = "hermes"  # the format of most models
_TOOLS = re.compile(r"\b\w*tools\b|\bfunctions\b|\btool_calls\b")
_COMMENT = re.compile(r"\{#.*?#\}", re.DOTALL)
_CODE = re.compile(r"\{\{.*?\}\}|\{%.*?%\}", re.DOTALL)


@dataclass(frozen=True)
class UnknownToolFormat:
    """The format of a template that handles tools, but writes calls in a format that is not registered."""

    markers: tuple[str, ...] = ()
    id_length: int = 0

    def recognises(self, template: str) -> bool:
        """Returns whether the code of a template mentions tools or calls."""
        return any(_TOOLS.search(code) for code in _CODE.findall(_COMMENT.sub("", template)))

    def parser(self, *, callable: bool, forced: bool, signatures: Signatures) -> None:
        """Returns None, because all text is content."""

    def grammar(self, rules: AnswerRules, writer: LarkWriter) -> None:
        """Returns None, because requests whose answers may have calls are rejected earlier."""


UNKNOWN = UnknownToolFormat()


def facts_of(tool_format: ToolFormat) -> list[tuple[str, str]]:
    """Returns lines of the start-up message about a tool format, as (name, value); none for a known format."""
    if tool_format is not UNKNOWN:
        return []
    return [("tool calls", "refused: the chat template shows them in an unknown format; --tool-format names one")]


def register_tool_format(name: str, tool_format: ToolFormat, *, replace: bool = False) -> None:
    """Adds a format that `ChatConfig.tool_format` may name.

    Raises:
        RegistryError: the name is taken and `replace` is false.
    """
    TOOL_FORMATS.register(name, tool_format, replace=replace)


def default_tool_format() -> ToolFormat:
    """Returns the format of a model whose template does not mention calls."""
    return TOOL_FORMATS.get(DEFAULT)


def find_tool_format(name: str, template: str) -> ToolFormat:
    """Returns a format by name.

    For "auto", returns the format that recognises the chat template. If several formats do, returns the format that was
    registered last. If no format does, returns `UNKNOWN` if the template handles tools, and otherwise the default
    format.

    Args:
        name: a registered name, or "auto".
        template: the source of the chat template.

    Raises:
        ModelError: the template uses an unsupported variant of a format.
        RegistryError: no format has that name, or a format that is tried cannot be imported.
    """
    if name != "auto":
        return TOOL_FORMATS.get(name)
    recognised = (tool_format for _, tool_format in TOOL_FORMATS.items() if tool_format.recognises(template))
    return next(recognised, None) or (UNKNOWN if UNKNOWN.recognises(template) else default_tool_format())
