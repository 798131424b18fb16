"""A template's own calls: the format that it shows reads them back, and writes the same text."""

from __future__ import annotations

import json
from typing import Any

import pytest

from jaxchat.chat.prompt.template import ChatTemplate
from jaxchat.chat.request.tool_choice import tool_choice_of
from jaxchat.chat.request.validate_tools import check_tools
from jaxchat.chat.tools.format import TOOL_FORMATS, WritesCalls
from jaxchat.chat.tools.signatures import Signatures
from jaxchat.chat.tools.stream_parser import CallPart
from tests.chat.grammar.test_tool_calls import tool_request

TOOLS: dict[str, Any] = {
    "weather": {
        "type": "object",
        "properties": {
            "city": {"type": "string"},
            "days": {"type": "integer"},
            "parts": {"type": "array", "items": {"type": "string"}},
            "where": {"type": "object"},
            "zip": {"type": "string"},
            "sure": {"type": "boolean"},
            "until": {"type": ["string", "null"]},
        },
    },
    "ping": {"type": "object", "properties": {}},
}
REQUEST = tool_request(TOOLS)
SIGNATURES = Signatures(tuple(tool_choice_of(REQUEST, check_tools(REQUEST).functions).callable))
CALLS = [
    ("weather", {"city": 'Ålesund "north"\n', "days": -2, "zip": "0150"}),
    ("weather", {"parts": ["a, b", "}"], "sure": True, "where": {"x": [1.5, {"y": ""}]}}),
    ("ping", {}),
    ("weather", {"city": "", "sure": False, "until": None}),
]
EACH = "{% for c in m.tool_calls %}{% set f = c.function %}"
LISTED = EACH + '{{ \'{"name": "\' ~ f.name ~ \'", "arguments": \' ~ f.arguments | tojson }}}'
ITEMS = "{% for k, v in f.arguments.items() %}"
PLAIN = "{{ v if v is string else v | tojson }}"
COMMA = "{{ ', ' if not loop.last }}{% endfor %}"
END = "{% endfor %}"
NEXT = "{{ '\\n' if not loop.last }}"
DSML = (
    '<｜DSML｜BLOCK>{{ "\\n" }}'
    + EACH
    + '<｜DSML｜invoke name="{{ f.name }}">{{ "\\n" }}'
    + ITEMS
    + '<｜DSML｜parameter name="{{ k }}" string="{{ "true" if v is string else "false" }}">'
    + PLAIN
    + '</｜DSML｜parameter>{{ "\\n" }}'
    + END
    + '</｜DSML｜invoke>{{ "\\n" }}'
    + END
    + "</｜DSML｜BLOCK>"
)
GEMMA = (
    "{% macro text(v) %}"
    '{% if v is string %}<|"|>{{ v }}<|"|>{% elif v is boolean %}{{ v | tojson }}{% elif v is mapping %}'
    "{{ '{' }}{% for k, w in v | dictsort %}{{ k }}:{{ text(w) }}{{ ',' if not loop.last }}{% endfor %}{{ '}' }}"
    "{% elif v is sequence %}[{% for w in v %}{{ text(w) }}{{ ',' if not loop.last }}{% endfor %}]"
    "{% else %}{{ v }}{% endif %}{% endmacro %}"
) + (EACH + "<|tool_call>call:{{ f.name }}{{ text(f.arguments) }}<tool_call|>" + END)
XML = ITEMS + "<parameter={{ k }}>L{{ v if v is string else v | tojson if v is mapping or v is iterable else v }}L"
PYTHON = "{{ {'true': 'True', 'false': 'False', 'null': 'None'}.get(v | tojson, v | tojson) }}"
TEMPLATES = {
    "apertus": "<|tools_prefix|>["
    + EACH
    + "{{ '{\"' ~ f.name ~ '\": ' ~ f.arguments | tojson ~ \"}\" }}"
    + COMMA
    + "]<|tools_suffix|>",
    "command-r7b": "<|START_ACTION|>[{{ '\\n' }}"
    + EACH
    + '    {"tool_call_id": "{{ loop.index0 }}", "tool_name": "{{ f.name }}", "parameters": {{ f.arguments | tojson }}}'
    + "{{ ',' if not loop.last }}{{ '\\n' }}"
    + END
    + "]<|END_ACTION|>",
    "command-r": "Action:\n```json\n[\n"
    + EACH
    + '{{ \'    {\\n        "tool_name": "\' ~ f.name ~ \'",\\n        "parameters": \' }}'
    + "{{ f.arguments | tojson(indent=4) | indent(8) }}{{ '\\n    }' }}{{ ',\\n' if not loop.last }}"
    + END
    + "{{ '\\n' }}]```",
    "deepseek-v3.2": DSML.replace("BLOCK", "function_calls"),
    "deepseek-v4": DSML.replace("BLOCK", "tool_calls"),
    "functionary-3.2": EACH + ">>>{{ f.name }}{{ '\\n' }}{{ f.arguments | tojson }}" + END + "{# >>>all #}",
    "gemma-4": GEMMA,
    "gigachat-3": "{% set role = 'function call' %}{{ role }}<|role_sep|>{{ '\\n' }}" + LISTED + END,
    "gigachat-3.1": "<|function_call|>" + LISTED + END,
    "mcp": "<use_mcp_tool>"
    + EACH
    + "{{ '\\n' }}<server_name>generic-extras</server_name>{{ '\\n' }}<tool_name>{{ f.name }}</tool_name>{{ '\\n' }}"
    + "<arguments>{{ '\\n' }}{{ f.arguments | tojson }}{{ '\\n' }}</arguments>"
    + END
    + "{{ '\\n' }}</use_mcp_tool>",
    "phi4-mini": "<|tool_call|>[" + LISTED + COMMA + "]<|/tool_call|>",
    "json-list": '{# [{"name": "f", "arguments": {}}] #}[' + LISTED + COMMA + "]",
    "pythonic": "{# [func_name1(a=1)] #}["
    + EACH
    + "{{ f.name }}("
    + ITEMS
    + "{{ k }}="
    + PYTHON
    + COMMA
    + "){{ ', ' if not loop.last }}"
    + END
    + "]",
    "minimax-m2": "<minimax:tool_call>{{ '\\n' }}"
    + EACH
    + "<invoke name=\"{{ f.name }}\">{{ '\\n' }}"
    + ITEMS
    + '<parameter name="{{ k }}">'
    + PLAIN
    + "</parameter>{{ '\\n' }}"
    + END
    + "</invoke>{{ '\\n' }}"
    + END
    + "</minimax:tool_call>",
    "seed-oss": EACH
    + "<seed:tool_call>{{ '\\n' }}<function={{ f.name }}>{{ '\\n' }}"
    + XML.replace("L", "")
    + "</parameter>{{ '\\n' }}"
    + END
    + "</function>{{ '\\n' }}</seed:tool_call>"
    + NEXT
    + END,
    "qwen3-coder": EACH
    + "<tool_call>{{ '\\n' }}<function={{ f.name }}>{{ '\\n' }}"
    + XML.replace("L", "{{ '\\n' }}")
    + "</parameter>{{ '\\n' }}"
    + END
    + "</function>{{ '\\n' }}</tool_call>"
    + NEXT
    + END,
}
SINGLE = ("gigachat-3", "gigachat-3.1")  # one call at most
BEGUN = {"functionary-3.2": ">>>"}  # the end of the prompt


def template_of(name: str) -> ChatTemplate:
    source = (
        "{% for t in tools or [] %}{{ t | tojson }}{% endfor %}"
        "{% for m in messages %}<{{ m.role }}>{{ m.content or '' }}"
        f"{{% if m.tool_calls %}}{TEMPLATES[name]}{{% endif %}}{{% endfor %}}"
    )
    return ChatTemplate(source, {})


def rendered(name: str, calls: list[tuple[str, dict[str, Any]]]) -> str:
    """The assistant's turn of a prompt."""
    functions = [{"type": "function", "function": {"name": called, "arguments": given}} for called, given in calls]
    messages = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": None, "tool_calls": functions}]
    return template_of(name).render(messages, None).partition("<assistant>")[2]


@pytest.mark.parametrize("name", TEMPLATES)
def test_calls_of_a_template_are_read_and_written(name: str) -> None:
    tool_format = TOOL_FORMATS.get(name)
    assert template_of(name).tool_format is tool_format
    assert isinstance(tool_format, WritesCalls)
    groups = [[call] for call in CALLS] + ([] if name in SINGLE else [CALLS, CALLS[::-1]])
    for calls in groups:
        text = rendered(name, calls)
        written = tool_format.write_calls([(called, json.dumps(given, ensure_ascii=False)) for called, given in calls])
        assert BEGUN.get(name, "") + written == text
        for step in (1, 5, len(text)):
            parser = tool_format.parser(callable=True, forced=False, signatures=SIGNATURES)
            assert parser is not None
            read: list[list[str]] = []
            for start in range(0, len(text), step):
                for segment in parser.feed(text[start : start + step]):
                    assert not (isinstance(segment, str) and segment), "syntax is no content"
                    if isinstance(segment, CallPart):
                        read += [[segment.name, ""]] if segment.name else []
                        read[-1][1] += segment.arguments
            assert [(called, json.loads(given)) for called, given in read] == calls
            assert parser.complete == len(calls) and parser.flush() == ""
