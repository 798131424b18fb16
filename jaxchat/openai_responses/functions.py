"""Reads the tools of a Responses request, and names the functions that a model may call.

A namespace is a group of functions. The model sees the functions of a group under names of the form `group__name`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from jaxchat import v1
from jaxchat.errors import invalid, missing, safe_repr, unsupported
from jaxchat.openai_json import enums, puts, readers
from jaxchat.openai_json.puts import Table

Json = dict[str, Any]


def chat_name(namespace: str, name: str) -> str:
    """Returns the name under which the model sees a function of a namespace."""
    return f"{namespace}__{name}"


@dataclass
class Functions:
    """The functions of a request.

    Attributes:
        tools: the chat tools.
        paths: path of each chat tool in the request.
        namespaces: namespace and name of each function in a namespace, by the name that the model sees.
        echo: the tools as the response repeats them.
    """

    tools: list[v1.Tool] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    namespaces: dict[str, tuple[str, str]] = field(default_factory=dict)
    echo: list[Json] = field(default_factory=list)

    def read(self, value: Any, path: str, allow_unknown: bool) -> None:
        """Adds the tools of an array. Ignores hosted tools if unknown keys are allowed.

        Raises:
            ChatError: 400 that names the tool and its field.
        """
        for index, tool in enumerate(readers.array(value, path)):
            self._read_tool(tool, f"{path}.{index}", allow_unknown)

    def choose(self, value: Any, path: str, allow_unknown: bool) -> v1.ToolChoice:
        """Reads a tool choice, and drops tools if the choice allows only some of them.

        Raises:
            ChatError: 400 on `path` or on a field under it.
        """
        choice = v1.ToolChoice()
        if isinstance(value, str):
            choice.mode = readers.word(enums.TOOL_CHOICES)(value, path)
            return choice
        kind = readers.mapping(value, path).get("type")
        if kind == "function":
            choice.named.type, choice.named.name = v1.TOOL_TYPE_FUNCTION, self._chosen(value, path, allow_unknown)
        elif kind == "allowed_tools":
            choice.mode = self._allow(value, path, allow_unknown)
        else:
            raise invalid(path, f"expected the type 'function' or 'allowed_tools', got {safe_repr(kind)}.")
        return choice

    def _read_tool(self, tool: Any, path: str, allow_unknown: bool) -> None:
        kind = readers.mapping(tool, path).get("type")
        if kind is None:
            raise missing(f"{path}.type")
        if kind == "function":
            self.echo.append(self._add(tool, path, allow_unknown))
        elif kind == "namespace":
            self.echo.append(self._add_namespace(tool, path, allow_unknown))
        elif not allow_unknown or not isinstance(kind, str):
            kind = readers.string(kind, f"{path}.type")
            reason = f"this server runs no hosted tools, only 'function' and 'namespace', got {safe_repr(kind)}."
            raise unsupported(f"{path}.type", reason)

    def _add(self, value: Any, path: str, allow_unknown: bool) -> Json:
        tool = v1.Tool(type=v1.TOOL_TYPE_FUNCTION)
        tool.function.SetInParent()
        puts.fill(tool.function, value, path, FUNCTION, LATER, allow_unknown)
        self.tools.append(tool)
        self.paths.append(path)
        echoed = {key: value.get(key) for key in ("name", "description", "parameters")}
        return {"type": "function", **echoed, "strict": tool.function.strict}

    def _add_namespace(self, value: Any, path: str, allow_unknown: bool) -> Json:
        group = Values()
        puts.fill(group, value, path, NAMESPACE, frozenset(), allow_unknown)
        if not group.name or not group.tools:
            raise missing(f"{path}.{'tools' if group.name else 'name'}", "A namespace must have it.")
        echoed = []
        for index, tool in enumerate(group.tools):
            inner = f"{path}.tools.{index}"
            if readers.mapping(tool, inner).get("type") != "function":
                raise invalid(f"{inner}.type", f"expected 'function', got {safe_repr(tool.get('type'))}.")
            echoed.append(self._add(tool, inner, allow_unknown))
            self._rename(group, first=index == 0)
        return {"type": "namespace", "name": group.name, "description": group.description, "tools": echoed}

    def _rename(self, group: Values, *, first: bool) -> None:
        """Gives the newest tool, a function of `group`, the name that the model sees.

        If the function is the first of the group, puts the description of the group before its own description.
        """
        function = self.tools[-1].function
        if function.name:
            self.namespaces[chat_name(group.name, function.name)] = group.name, function.name
            function.name = chat_name(group.name, function.name)
        if first and group.description:
            function.description = "\n\n".join(filter(None, (group.description, function.description)))

    def _chosen(self, value: Any, path: str, allow_unknown: bool) -> str:
        """Returns the name of a chosen function, as the model sees it.

        Raises:
            ChatError: 400 on `path` or on a field under it.
        """
        chosen = Values()
        puts.fill(chosen, value, path, CHOSEN, frozenset(), allow_unknown)
        if value.get("type") != "function":
            raise invalid(path, f"a chosen tool must have the type 'function', got {safe_repr(value.get('type'))}.")
        if not chosen.name:
            raise missing(path, "A chosen function must have a name.")
        return chat_name(chosen.namespace, chosen.name) if chosen.namespace else chosen.name

    def _allow(self, value: Mapping[str, Any], path: str, allow_unknown: bool) -> v1.ToolChoiceMode:
        allowed = Values()
        puts.fill(allowed, value, path, ALLOWED, frozenset(), allow_unknown)
        if not allowed.mode or not allowed.tools:
            raise missing(path, "A choice of allowed tools must have a mode and tools.")
        names = [self._chosen(tool, path, allow_unknown) for tool in allowed.tools]
        for name in names:
            if name not in {tool.function.name for tool in self.tools}:
                raise invalid(path, f"no tool has the name {safe_repr(name)}.")
        kept = [(tool, at) for tool, at in zip(self.tools, self.paths, strict=True) if tool.function.name in names]
        self.tools, self.paths = [tool for tool, _ in kept], [at for _, at in kept]
        return allowed.mode


@dataclass
class Values:
    """The values of a namespace or of a tool choice, while they are read."""

    name: str = ""
    namespace: str = ""
    description: str = ""
    mode: v1.ToolChoiceMode = v1.TOOL_CHOICE_MODE_UNSPECIFIED
    tools: list[Any] = field(default_factory=list)


_text = puts.plain(readers.string)
_type = puts.echo(readers.anything)
LATER = frozenset({"output_schema"})
FUNCTION: Table = {
    "type": _type,
    "name": _text,
    "description": _text,
    "parameters": puts.plain(readers.json_text),
    "strict": puts.plain(readers.boolean),
    "async": puts.only(False),
    "defer_loading": puts.only(False),
    "allowed_callers": puts.only(["direct"]),
}
NAMESPACE: Table = {"type": _type, "name": _text, "description": _text, "tools": puts.plain(readers.array)}
CHOSEN: Table = {"type": _type, "name": _text, "namespace": _text}
ALLOWED: Table = {
    "type": _type,
    "mode": puts.plain(readers.word({"auto": v1.TOOL_CHOICE_MODE_AUTO, "required": v1.TOOL_CHOICE_MODE_REQUIRED})),
    "tools": puts.plain(readers.array),
}
