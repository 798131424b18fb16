"""Formats whose calls are one JSON list: Phi-4-mini, Granite 3, functools, Apriel, and xLAM, which has no opening."""

from __future__ import annotations

import re
from dataclasses import dataclass

from jaxchat.chat.tools.json_format import JsonToolFormat


@dataclass(frozen=True, kw_only=True)
class ListToolFormat(JsonToolFormat):
    """A format whose calls are the items of one JSON list."""

    before: tuple[str, ...] = ("[",)
    between: tuple[str, ...] | None = (", ",)
    after: tuple[str, ...] = ("]",)
    lead: str = r"(?:\s*\[)?"
    more: str = r"\s*\}\s*,"
    ended: str = r"\s*\}\s*\]"


class _Phi4(ListToolFormat):
    """The format of Phi-4-mini, whose template may show tools without calls."""

    def recognises(self, template: str) -> bool:
        """Returns whether a template writes `<|/tool_call|>` or `<|/tool|>`."""
        return "<|/tool_call|>" in template or "<|/tool|>" in template


class _Granite(ListToolFormat):
    """The format of Granite 3, which has the opening of Phi-4-mini but no closing."""

    def recognises(self, template: str) -> bool:
        """Returns whether a template contains the opening of Phi-4-mini, but none of the closings of Phi-4-mini."""
        return self.opening in template and not PHI4.recognises(template)


class _JsonList(ListToolFormat):
    """The format of xLAM and Hammer: a list as the complete answer."""

    def recognises(self, template: str) -> bool:
        """Returns whether a template shows a list of calls, but no marker of another format."""
        return bool(_LIST.search(template)) and not _OTHERS.search(template)


class _Functools(ListToolFormat):
    """The format of firefunction. Its template may have white space inside the opening."""

    def recognises(self, template: str) -> bool:
        """Returns whether a template contains the word `functools` before `[`."""
        return bool(re.search(r"\bfunctools\s*\[", template))


_LIST = re.compile(r'\[(?:\s|\\n)*\{\\*"name\\*": .{1,80}?\\*"arguments\\*": ', re.DOTALL)
_OTHERS = re.compile(r"(?i:</?\|?tool)|<function|\[TOOL|functools|Action:|_ACTION|<\|channel\|>|<invoke")
JSON_LIST = _JsonList(opening="", markers=(), bare=True)
APRIEL = ListToolFormat(
    opening="<tool_calls>",
    markers=("<tool_calls>", "</tool_calls>"),
    after=("]", "</tool_calls>"),
    ended=r"\s*\}\s*\]\s*</tool_calls>",
    id_after="id",
    id_form="[A-Za-z0-9_.:-]{1,64}",
)
PHI4 = _Phi4(
    opening="<|tool_call|>",
    markers=("<|tool_call|>", "<|/tool_call|>"),
    after=("]", "<|/tool_call|>"),
    ended=r"\s*\}\s*\]\s*<\|/tool_call\|>",
)
GRANITE = _Granite(opening="<|tool_call|>", markers=("<|tool_call|>",))
FUNCTOOLS = _Functools(opening="functools[", markers=(), before=(), lead="")
