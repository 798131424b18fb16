"""Reads which functions a request allows: `tools` and `tool_choice`, or the legacy `functions` and `function_call`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from jaxchat import v1
from jaxchat.chat.request.schema_text import SchemaText

MAX_CALLS = 16
Mode = Literal["none", "auto", "required"]
_MODES: dict[int, Mode] = {v1.TOOL_CHOICE_MODE_NONE: "none", v1.TOOL_CHOICE_MODE_REQUIRED: "required"}


@dataclass(frozen=True, kw_only=True)
class Function:
    """A function that a request describes."""

    name: str
    path: str  # path of the function in the request
    description: str | None = None
    parameters: SchemaText | None = None
    strict: bool = False  # whether unknown keywords of the parameters are errors


@dataclass(frozen=True)
class ToolChoice:
    """The functions of a validated request, and the rules for calling them.

    Attributes:
        functions: all functions of the request.
        mode: "none" forbids calls, "auto" allows them, "required" demands one.
        named: name of the function that must be called; "" if the request does not name a function.
        most: maximum number of calls in an answer.
        legacy: whether the request has `functions` in place of `tools`.
    """

    functions: tuple[Function, ...] = ()
    mode: Mode = "none"
    named: str = ""
    most: int = MAX_CALLS
    legacy: bool = False

    @property
    def visible(self) -> bool:
        """Whether the model sees the functions."""
        return self.mode != "none"

    @property
    def callable(self) -> list[Function]:
        """The functions that an answer may call."""
        functions = self.functions if self.visible else ()
        return [function for function in functions if self.named in ("", function.name)]


def tool_choice_of(request: v1.ChatCompletionRequest, functions: tuple[Function, ...]) -> ToolChoice:
    """Returns the tool choice of a validated request. Without functions its mode is "none".

    Args:
        request: the request.
        functions: the parsed functions of the request.
    """
    if request.functions:
        name = request.function_call.name
        return ToolChoice(functions, _mode(request.function_call.mode, name), name, 1, True)
    if request.tools:
        name = request.tool_choice.named.name
        parallel = request.parallel_tool_calls or not request.HasField("parallel_tool_calls")
        most = MAX_CALLS if parallel and not name else 1
        return ToolChoice(functions, _mode(request.tool_choice.mode, name), name, most)
    return ToolChoice()


def _mode(mode: int, name: str) -> Mode:
    return "required" if name else _MODES.get(mode, "auto")
