"""Formats whose calls are a name and a JSON object: functionary 3.1, DeepSeek V3.1 and R1, Kimi K2, Apertus and MCP."""

from __future__ import annotations

from jaxchat.chat.tools.named_format import NamedToolFormat

FUNCTIONARY = NamedToolFormat(
    opening="<function=",
    markers=(),
    separator=(">",),
    end=("</function>",),
    between=("<function=",),
    shown=r"^(?!.*(?:<parameter=|<tool_call>)).*<function=.*</function>",
)
DEEPSEEK_V31 = NamedToolFormat(
    opening="<｜tool▁calls▁begin｜>",
    markers=(
        "<｜tool▁calls▁begin｜>",
        "<｜tool▁call▁begin｜>",
        "<｜tool▁sep｜>",
        "<｜tool▁call▁end｜>",
        "<｜tool▁calls▁end｜>",
    ),
    before=("<｜tool▁call▁begin｜>",),
    separator=("<｜tool▁sep｜>",),
    end=("<｜tool▁call▁end｜>",),
    between=("<｜tool▁call▁begin｜>",),
    after=("<｜tool▁calls▁end｜>",),
    shown="^(?!.*```json).*<｜tool▁call▁begin｜>.*<｜tool▁sep｜>",
)
DEEPSEEK_R1 = NamedToolFormat(
    opening="<｜tool▁calls▁begin｜>",
    markers=DEEPSEEK_V31.markers,
    before=("<｜tool▁call▁begin｜>", "function", "<｜tool▁sep｜>"),
    separator=("\n```json\n",),
    end=("\n```", "<｜tool▁call▁end｜>"),
    between=("\n", "<｜tool▁call▁begin｜>", "function", "<｜tool▁sep｜>"),
    after=("<｜tool▁calls▁end｜>",),
    shown="<｜tool▁call▁begin｜>.*<｜tool▁sep｜>.*```json",
)
KIMI_K2 = NamedToolFormat(
    opening="<|tool_calls_section_begin|>",
    markers=(
        "<|tool_calls_section_begin|>",
        "<|tool_call_begin|>",
        "<|tool_call_argument_begin|>",
        "<|tool_call_end|>",
        "<|tool_calls_section_end|>",
    ),
    before=("<|tool_call_begin|>", "functions."),
    number=":",
    separator=("<|tool_call_argument_begin|>",),
    end=("<|tool_call_end|>",),
    between=("<|tool_call_begin|>", "functions."),
    after=("<|tool_calls_section_end|>",),
    shown=r"<\|tool_calls_section_begin\|>.*<\|tool_call_argument_begin\|>",
)
APERTUS = NamedToolFormat(
    opening="<|tools_prefix|>",
    markers=("<|tools_prefix|>", "<|tools_suffix|>"),
    before=('[{"',),
    separator=('": ',),
    end=("}",),
    between=(', {"',),
    after=("]", "<|tools_suffix|>"),
    shown=r"<\|tools_prefix\|>",
)
MCP = NamedToolFormat(
    opening="<use_mcp_tool>",
    markers=(),
    before=("\n<server_name>",),
    label="generic-extras",
    label_end=("</server_name>\n<tool_name>",),
    separator=("</tool_name>\n<arguments>\n",),
    end=("\n</arguments>",),
    between=("\n<server_name>",),
    after=("\n</use_mcp_tool>",),
    shown="<use_mcp_tool>.*<server_name>.*<arguments>",
)
