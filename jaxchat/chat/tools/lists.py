"""Formats whose calls are a JSON list after a word: Phi-4-mini, Granite 3 and functools."""

from __future__ import annotations

import re

from jaxchat.chat.tools.json_format import JsonToolFormat


class _Phi4(JsonToolFormat):
    """The format of Phi-4-mini, whose template may show tools only."""

    def recognises(self, template: str) -> bool:
        """Returns whether a template closes tools or calls as Phi-4-mini does."""
        return "<|/tool_call|>" in template or "<|/tool|>" in template


class _Granite(JsonToolFormat):
    """The format of Granite 3, which has the opening of Phi-4-mini but no closing."""

    def recognises(self, template: str) -> bool:
        """Returns whether a template contains the opening without a closing."""
        return self.opening in template and not PHI4.recognises(template)


class _Functools(JsonToolFormat):
    """The format of firefunction, whose template puts code between the word and the list."""

    def recognises(self, template: str) -> bool:
        """Returns whether a template shows the word and a list after it."""
        return bool(re.search(r"\bfunctools\s*\[", template))


PHI4 = _Phi4(
    opening="<|tool_call|>",
    markers=("<|tool_call|>", "<|/tool_call|>"),
    before=("[",),
    between=(", ",),
    after=("]", "<|/tool_call|>"),
    lead=r"(?:\s*\[)?",
    more=r"\s*\}\s*,",
    ended=r"\s*\}\s*\]\s*<\|/tool_call\|>",
)
GRANITE = _Granite(
    opening="<|tool_call|>",
    markers=("<|tool_call|>",),
    before=("[",),
    between=(", ",),
    after=("]",),
    lead=r"(?:\s*\[)?",
    more=r"\s*\}\s*,",
    ended=r"\s*\}\s*\]",
)
FUNCTOOLS = _Functools(
    opening="functools[",
    markers=(),
    between=(", ",),
    after=("]",),
    more=r"\s*\}\s*,",
    ended=r"\s*\}\s*\]",
)
