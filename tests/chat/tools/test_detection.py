"""A chat template says in which format its model writes calls, or that the format is unknown. It is never guessed."""

from __future__ import annotations

import pytest

from jaxchat.chat.prompt.template import ChatTemplate
from jaxchat.chat.prompt.tokenizer import ChatTokenizer
from jaxchat.chat.request.prepared import PreparedRequest, prepare
from jaxchat.chat.request.tool_choice import tool_choice_of
from jaxchat.chat.request.validate_tools import check_tools
from jaxchat.chat.tools.format import TOOL_FORMATS, UNKNOWN, facts_of, find_tool_format
from jaxchat.errors import ChatError
from tests.chat.grammar.test_tool_calls import tool_request
from tests.chat.grammar.walking import bundled

CALLS = "{% for tool in tools %}{{ tool | tojson }}{% endfor %}"
SHOWN = {
    "hermes": [
        '<tool_call>\n{"name": <function-name>, "arguments": <args-json-object>}\n</tool_call>',
        '{{- "<tool_call>\\n{\\"name\\": \\"" + call.name + \'", "arguments": \' }}',
        "{{ '<tool_call>\\n' + (call.function | tojson) + '\\n</tool_call>' }}",
    ],
    "llama3": ['Respond in the format {"name": function name, "parameters": dictionary}.'],
    "mistral": ["{{ '[TOOL_CALLS] [' }}"],
    "mistral-nemo": ['{{- "[TOOL_CALLS][" }}'],
    "mistral-args": ["{{- '[TOOL_CALLS]' + call.function.name }}{{- '[ARGS]' + call.function.arguments | tojson }}"],
    "mistral-call-id": ["{{ '[TOOL_CALLS]' + name + '[CALL_ID]' + id + '[ARGS]' + arguments }}"],
    "pythonic": ["in the format of [func_name1(params_name1=params_value1, params_name2=params_value2...)]"],
    "json-list": ['[{"name": "tool_call_name", "arguments": {"a": "b"}}, ... (parallel tool calls as needed)]'],
    "apriel": ["{{ '<tool_calls>[' }}"],
    "lfm2": ["<|tool_list_start|>", "<|tool_call_start|>[f(a=1)]<|tool_call_end|>"],
    "phi4-mini": ["{{ '<|tool|>' + (tools | tojson) + '<|/tool|>' }}", "<|tool_call|>[...]<|/tool_call|>"],
    "command-r7b": ['<|START_ACTION|>[{"tool_call_id": "0", "tool_name": name, "parameters": {}}]<|END_ACTION|>'],
    "command-r": ['Write \'Action:\' followed by a list:\n```json\n[{"tool_name": title, "parameters": a dict}]```'],
    "apertus": ["{%- set tool_calls_token = '<|tools_prefix|>' -%}"],
    "gigachat-3": ["{{ write(message, 'function call') }}{% set sep = '<|role_sep|>' %}"],
    "gigachat-3.1": ["{% set call_sep = '<|function_call|>' %}{% set sep = '<|role_sep|>' %}'function call'"],
    "mcp": ["<use_mcp_tool>\n<server_name>s</server_name>\n<tool_name>f</tool_name>\n<arguments>\n{}\n</arguments>"],
    "functionary-3.2": ["{{ '>>>all\\n' + message.content }}{{ '>>>' + call.function.name }}"],
    "deepseek-v3.2": [
        "<｜DSML｜function_calls>\n<｜DSML｜invoke name=f>",
        "{% set token = '｜DSML｜' %}{{ '<' + token + 'function_calls>' }}{% if message.tool_calls %}",
    ],
    "deepseek-v4": ["{% set token = '｜DSML｜' %}{{ '<' + token + 'tool_calls>' }}{% if message.tool_calls %}"],
    "gemma-4": ["{{- '<|tool_call>call:' + function['name'] + '{' -}}"],
    "granite": ["respond only with <|tool_call|> followed by a JSON list"],
    "functools": ["formatted as functools[{...}]"],
    "functionary": ["{{ '<function=' + call.name + '>' + (call.arguments | tojson) + '</function>' }}"],
    "deepseek-v3.1": ["{{ '<｜tool▁call▁begin｜>' + tool.name + '<｜tool▁sep｜>' + tool.arguments }}"],
    "deepseek-r1": ["{{ '<｜tool▁call▁begin｜>' + tool.type + '<｜tool▁sep｜>' + tool.name + '```json' }}"],
    "kimi-k2": ["<|tool_calls_section_begin|><|tool_call_begin|>{{ id }}<|tool_call_argument_begin|>"],
    "glm-4.5": ["<tool_call>{name}\n<arg_key>{key}</arg_key>\n<arg_value>{value}</arg_value>"],
    "glm-4.7": ["<tool_call>{name}<arg_key>{key}</arg_key><arg_value>{value}</arg_value>"],
    "minimax-m2": ['{% set begin = "<minimax:tool_call>" %}<invoke name="f"><parameter name="a">'],
    "seed-oss": ["<seed:tool_call>\n<function=f>\n<parameter=a>1</parameter>"],
    "qwen3-coder": [
        "<tool_call>\\n<function=example_function_name>\\n<parameter=example_parameter_1>\\nvalue_1\\n</parameter>",
        "{{- '<tool_call>\\n<function=' ~ call.name ~ '>\\n' -}}{{ '<parameter=' + key + '>\\n' }}",
    ],
    "harmony": ["<|start|>assistant<|channel|>final<|message|>"],
}
NONE_OF_OURS = [
    '<tools>{{ tools }}</tools> <tool_call> {"a": 1, "name": 2} is not enough',
    'Action: {"name": "f", "parameters": {}}',
    "<tool_call> only",
    "List of tools: [",
    "｜DSML｜",
    ">>>",
    "<|tool_call>f<tool_call|>",
    "<use_mcp_tool>",
    '<TOOLCALL>[{"name": "f", "arguments": {}}]</TOOLCALL>',
    "{{ '<|from|>assistant\n<|recipient|>' + call.function.name + '\n<|content|>' }}",
    "{{ '[TOOL_REQUEST]' + call }}",
]


@pytest.mark.parametrize(("name", "shown"), [(name, shown) for name, all_ in SHOWN.items() for shown in all_])
def test_the_format_that_a_template_shows(name: str, shown: str) -> None:
    assert find_tool_format("auto", CALLS + shown) is TOOL_FORMATS.get(name)


@pytest.mark.parametrize("shown", NONE_OF_OURS)
def test_a_format_that_is_none_of_ours_is_unknown(shown: str) -> None:
    tool_format = find_tool_format("auto", CALLS + shown)
    assert tool_format is UNKNOWN
    assert facts_of(tool_format) and "--tool-format" in facts_of(tool_format)[0][1]
    assert find_tool_format("hermes", CALLS + shown) is TOOL_FORMATS.get("hermes")


@pytest.mark.parametrize("template", ["{{ messages }} your tools", "{# tools #}{{ messages }}", ""])
def test_a_template_that_never_uses_tools_has_the_default(template: str) -> None:
    tool_format = find_tool_format("auto", template)
    assert tool_format is TOOL_FORMATS.get("hermes") and facts_of(tool_format) == []


def prepared(choice: str, known: ChatTokenizer) -> PreparedRequest:
    """A request with tools to a model whose format of calls is unknown."""
    template = ChatTemplate("{{ tools }}{{ messages[0].content }}", {})
    request = tool_request(choice=choice)
    tool_choice = tool_choice_of(request, check_tools(request).functions)
    return prepare(request, tool_choice, template, known, context=1000, vocab=known.size, named_finish="tool_calls")


@pytest.mark.parametrize("choice", ["auto", "required", "ping"])
def test_calls_in_an_unknown_format_are_refused(choice: str) -> None:
    with pytest.raises(ChatError, match="--tool-format") as caught:
        prepared(choice, bundled())
    assert caught.value.param == "tools" and caught.value.http_status == 400


def test_functions_that_may_not_be_called_are_accepted_in_any_format() -> None:
    assert len(prepared("none", bundled()).prompt)
