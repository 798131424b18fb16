"""The format of Qwen3-Coder, Qwen3.5, Nemotron 3 and StepFun: each argument of a call stands between tags."""

from __future__ import annotations

from jaxchat.chat.tools.xml_format import XmlToolFormat

QWEN3_CODER = XmlToolFormat(
    opening="<tool_call>",
    markers=("<tool_call>", "</tool_call>"),
    before=("\n<function=",),
    name_end=(">\n",),
    key=("<parameter=",),
    key_end=(">\n",),
    value_end="</parameter>",
    after_value=("\n",),
    end=("</function>\n", "</tool_call>"),
    between=("\n", "<tool_call>", "\n<function="),
    words=True,
    padded=True,
    shown="<tool_call>[^<]{0,40}<function=.*<parameter=",
)
