"""Formats whose arguments stand between tags: GLM 4.5 and later, MiniMax-M2, Seed-OSS, DeepSeek V3.2 and V4."""

from __future__ import annotations

from dataclasses import replace

from jaxchat.chat.tools.xml_format import XmlToolFormat

GLM45 = XmlToolFormat(
    opening="<tool_call>",
    markers=("<tool_call>", "</tool_call>", "<arg_key>", "</arg_key>", "<arg_value>", "</arg_value>"),
    before=(),
    name_end=("\n",),
    key=("<arg_key>",),
    key_end=("</arg_key>", "\n", "<arg_value>"),
    value_end="</arg_value>",
    after_value=("\n",),
    end=("</tool_call>",),
    between=("\n", "<tool_call>"),
    shown="</arg_key>(?:\n|\\\\n)+<arg_value>",
)
GLM47 = replace(
    GLM45,
    name_end=(),
    key_end=("</arg_key>", "<arg_value>"),
    after_value=(),
    between=("<tool_call>",),
    shown="</arg_key><arg_value>",
)
MINIMAX_M2 = XmlToolFormat(
    opening="<minimax:tool_call>",
    markers=("<minimax:tool_call>", "</minimax:tool_call>"),
    before=('\n<invoke name="',),
    name_end=('">\n',),
    key=('<parameter name="',),
    key_end=('">',),
    value_end="</parameter>",
    after_value=("\n",),
    end=("</invoke>\n",),
    between=('<invoke name="',),
    after=("</minimax:tool_call>",),
    shown="minimax:tool_call>.*<invoke name=.*<parameter name=",
)
SEED_OSS = XmlToolFormat(
    opening="<seed:tool_call>",
    markers=("<seed:tool_call>", "</seed:tool_call>"),
    before=("\n<function=",),
    name_end=(">\n",),
    key=("<parameter=",),
    key_end=(">",),
    value_end="</parameter>",
    after_value=("\n",),
    end=("</function>\n", "</seed:tool_call>"),
    between=("\n", "<seed:tool_call>", "\n<function="),
    words=True,
    shown="<seed:tool_call>.*<function=.*<parameter=",
)
DEEPSEEK_V32 = XmlToolFormat(
    opening="<｜DSML｜function_calls>",
    markers=("｜DSML｜",),
    before=('\n<｜DSML｜invoke name="',),
    name_end=('">\n',),
    key=('<｜DSML｜parameter name="',),
    key_end=('" string="',),
    kinds=('true">', 'false">'),
    value_end="</｜DSML｜parameter>",
    after_value=("\n",),
    end=("</｜DSML｜invoke>\n",),
    between=('<｜DSML｜invoke name="',),
    after=("</｜DSML｜function_calls>",),
    shown="｜DSML｜(?:.*['<])?function_calls>",
)
DEEPSEEK_V4 = replace(
    DEEPSEEK_V32,
    opening="<｜DSML｜tool_calls>",
    after=("</｜DSML｜tool_calls>",),
    shown="｜DSML｜(?:.*['<])?tool_calls>",
)
