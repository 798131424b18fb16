"""Templates that do not print tools, calls or results. One small template a kind."""

from __future__ import annotations

import json

import pytest

from jaxchat.chat.prompt.template import ChatTemplate
from jaxchat.chat.tools.format import TOOL_FORMATS
from jaxchat.errors import ChatError
from tests.chat.prompt.rendering import ASKED, CALLS, END, LOOP, PARAMETERS, RESULT, TOOL, TOOLS, called, prompt

SILENT = {
    "prints nothing but content": LOOP + "{{ m.content }}" + END,
    "wants roles to alternate": (
        "{% for m in messages %}{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}"
        "{{ raise_exception('alternate') }}{% endif %}[{{ m.role }}]{{ m.content }}" + END
    ),
    "knows only users and assistants": (
        "{% for m in messages if m.role in ('user', 'assistant') %}[{{ m.role }}]{{ m.content }}" + END
    ),
}


@pytest.mark.parametrize("kind", SILENT)
def test_tools_calls_and_results_reach_templates_that_do_not_print_them(kind: str) -> None:
    template = ChatTemplate(SILENT[kind], {})
    rendered = template.render([ASKED, called(content="I look."), RESULT], [TOOL])
    assert '"name": "weather", "description": "Tells it"' in rendered
    assert 'I look.\n<tool_call>\n{"name": "weather", "arguments": {"city": "Oslo"}}\n</tool_call>' in rendered
    assert "12C" in rendered and rendered.index("Weather in Oslo?") < rendered.index("I look.") < rendered.index("12C")
    assert list(template.traits.notes())


def test_calls_are_written_in_the_format_of_the_model() -> None:
    template = ChatTemplate(SILENT["prints nothing but content"], {}, tool_format="mistral")
    assert '[TOOL_CALLS] [{"name": "weather", "arguments": {"city": "Oslo"}}]' in template.render(
        [ASKED, called()], [TOOL]
    )


def test_several_results_are_one_user_message() -> None:
    template = ChatTemplate(SILENT["wants roles to alternate"], {})
    rendered = template.render([ASKED, called(), RESULT, RESULT | {"content": '{"sun": 1}'}, ASKED], None)
    response = '<tool_response>\n{{"name": "weather", "content": {}}}\n</tool_response>\n'
    assert rendered.endswith("[user]" + response.format('"12C"') + response.format('{"sun": 1}') + "Weather in Oslo?")


def test_tools_may_be_a_key_of_the_system_message() -> None:
    template = ChatTemplate(
        LOOP + "{% if m.role == 'system' and m.tools %}<{{ m.tools }}>{% endif %}{{ m.content }}" + CALLS + END, {}
    )
    assert template.render([ASKED], [TOOL]).startswith('[system]<[{"name": "weather"')


def test_calls_are_written_where_tools_are_a_key_and_content_must_be_text() -> None:
    joined = "{{ '<|' + m.role + '|>' + m.content + ('<|tool|>' + m.tools + '<|/tool|>' if m.tools else '') }}"
    template = ChatTemplate("{% for m in messages %}" + joined + END, {})
    assert template.tool_format is TOOL_FORMATS.get("phi4-mini")
    calls = '<|tool_call|>[{"name": "weather", "arguments": {"city": "Oslo"}}]<|/tool_call|>'
    shown = template.render([ASKED, called(), RESULT], [TOOL])
    assert shown.startswith(f"<|system|><|tool|>{json.dumps([TOOL['function']])}<|/tool|><|user|>Weather in Oslo?")
    assert f"<|assistant|>{calls}<|" in shown and "12C" in shown


def test_tools_that_can_be_neither_printed_nor_written_are_refused() -> None:
    template = ChatTemplate(SILENT["prints nothing but content"], {}, tool_format="harmony")
    with pytest.raises(ChatError, match="does not show tools") as caught:
        template.render([ASKED], [TOOL])
    assert caught.value.param == "tools"


def test_control_tokens_of_a_description_stay_text() -> None:
    template = SILENT["prints nothing but content"]
    tool = {"type": "function", "function": {"name": "f", "description": "<|im_end|>", "parameters": PARAMETERS}}
    assert "<|im_end|>" in prompt(template, messages=[ASKED], tools=[tool])


NO_CALLS = TOOLS + LOOP + "{{ m.content or '' }}" + END


@pytest.mark.parametrize("content", [None, "Let me look."])
def test_calls_that_neither_the_template_nor_the_format_writes_are_refused_by_name(content: str | None) -> None:
    template = ChatTemplate(NO_CALLS, {})
    assert "does not show calls: they are refused" in list(template.traits.notes())
    with pytest.raises(ChatError, match="does not show the calls of tools") as caught:
        template.render([ASKED, called(content=content), RESULT], [TOOL])
    assert (caught.value.http_status, caught.value.param) == (400, "messages.1.tool_calls")
    assert "weather" in template.render([ASKED], [TOOL])


def test_a_template_that_refuses_calls_says_why() -> None:
    refusing = (
        TOOLS + LOOP + "{% if m.tool_calls %}{{ raise_exception('one at a time') }}{% endif %}{{ m.content }}" + END
    )
    with pytest.raises(ChatError, match="one at a time"):
        ChatTemplate(refusing, {}).render([ASKED, called(), RESULT], None)
