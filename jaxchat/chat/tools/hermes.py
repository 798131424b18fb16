"""The format of Hermes, Qwen and many others: each call is between `<tool_call>` and `</tool_call>`."""

from __future__ import annotations

from jaxchat.chat.tools.json_format import JsonToolFormat

HERMES = JsonToolFormat(
    opening="<tool_call>",
    markers=("<tool_call>", "</tool_call>"),
    before=("\n",),
    between=("\n", "</tool_call>", "\n", "<tool_call>", "\n"),
    after=("\n", "</tool_call>"),
    ended=r"\s*\}\s*</tool_call>",
)
