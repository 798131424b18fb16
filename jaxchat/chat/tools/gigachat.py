"""The formats of GigaChat 3 and 3.1: one call at most, a JSON object in a message of its own or after a control token."""

from __future__ import annotations

from jaxchat.chat.tools.json_format import JsonToolFormat

GIGACHAT31 = JsonToolFormat(opening="<|function_call|>", markers=("<|function_call|>",))
GIGACHAT3 = JsonToolFormat(
    opening="function call<|role_sep|>\n",
    markers=("<|role_sep|>", "<|message_sep|>"),
    around=("<|message_sep|>",),
)
