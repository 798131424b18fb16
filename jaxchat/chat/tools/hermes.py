"""The format of Hermes, Qwen and many others: each call is between `<tool_call>` and `</tool_call>`."""

from __future__ import annotations

import re

from jaxchat.chat.tools.json_format import JsonToolFormat

_SHOWN = re.compile(r'<tool_call>[^<]{0,80}?(?:\{\\*"name|tojson)')


class _Hermes(JsonToolFormat):
    """The format of Hermes. Other formats have the same opening, but no JSON object after it."""

    def recognises(self, template: str) -> bool:
        """Returns whether a template shows a JSON object after the opening, and does not mention `<use_mcp_tool>`."""
        return bool(_SHOWN.search(template)) and "<use_mcp_tool>" not in template


HERMES = _Hermes(
    opening="<tool_call>",
    markers=("<tool_call>", "</tool_call>"),
    before=("\n",),
    between=("\n", "</tool_call>", "\n", "<tool_call>", "\n"),
    after=("\n", "</tool_call>"),
    ended=r"\s*\}\s*</tool_call>",
)
