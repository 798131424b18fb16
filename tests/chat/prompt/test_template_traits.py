"""Templates that print less than a request holds, or accept one form of a message only. One small template a kind."""

from __future__ import annotations

from typing import Any

import pytest

from jaxchat.chat.prompt.build import prompt_tokens
from jaxchat.chat.prompt.template import ChatTemplate
from jaxchat.chat.prompt.tokenizer import ChatTokenizer
from jaxchat.chat.request.validate import validate
from jaxchat.errors import ChatError
from jaxchat.openai_json.request import request_from_json
from tests import tiny

ASKED = {"role": "user", "content": "Weather in Oslo?"}
RESULT = {"role": "tool", "tool_call_id": "c1", "name": "weather", "content": "12C"}
PARAMETERS = {"type": "object", "properties": {"city": {"type": "string"}}}
TOOL = {"type": "function", "function": {"name": "weather", "description": "Tells it", "parameters": PARAMETERS}}
LOOP = "{% for m in messages %}[{{ m.role }}]"
TOOLS = "{{ tools | tojson if tools else '' }}"
CALLS = "{% for c in m.tool_calls or [] %}{{ c.function.name }}:{{ c.function.arguments | tojson }}{% endfor %}"
END = "{% endfor %}"


def called(arguments: Any = None, content: str | None = None) -> dict[str, Any]:
    function = {"name": "weather", "arguments": {"city": "Oslo"} if arguments is None else arguments}
    return {
        "role": "assistant",
        "content": content,
        "tool_calls": [{"id": "c1", "type": "function"} | {"function": function}],
    }


def prompt(template: str, **request: Any) -> str:
    tokenizer = ChatTokenizer(tiny.tokenizer_json())
    parsed = request_from_json({"model": "m", **request}).request
    choice = validate(parsed, vocab_size=tokenizer.size, model_ids=("m",), streamed=False)
    ids = prompt_tokens(parsed, choice, ChatTemplate(template, {}), tokenizer, 4096, tokenizer.size)
    return b"".join(tokenizer.bytes_of(id_) for id_ in ids.tolist()).decode()


CONTENT = {
    "absent": "{% if 'content' in m %}{{ m.content + '' }}{% endif %}",
    "null": "{% if m['content'] is not none %}{{ '' + m['content'] }}{% else %}" + CALLS + "{% endif %}",
    "text": "{{ m.content + '' }}",
    "null is printed": "{% if m.content is undefined %}{{ raise_exception('absent') }}{% endif %}{{ m.content }}",
    "null is refused": "{% if m.content is none %}{{ raise_exception('null') }}{% endif %}{{ m.content }}",
}


@pytest.mark.parametrize("form", CONTENT)
@pytest.mark.parametrize("content", [None, ""])
def test_a_call_without_text_renders_whatever_form_the_template_wants(form: str, content: str | None) -> None:
    template = LOOP + CONTENT[form] + ("" if form == "null" else CALLS) + END
    rendered = ChatTemplate(template + TOOLS, {}).render([ASKED, called(content=content), RESULT], None)
    assert rendered == '[user]Weather in Oslo?[assistant]weather:{"city": "Oslo"}[tool]12C'


FUNCTIONS = {
    "description": "{% for t in tools or [] %}{{ t.function.name + ': ' + t.function.description }}{% endfor %}",
    "parameters": "{% for t in tools or [] %}{{ t.function.name }}{{ t.function.parameters | tojson }}{% endfor %}",
    "properties": (
        "{% for t in tools or [] %}{{ t.function.name }}"
        "{% for k, v in t.function.parameters.properties.items() %}{{ k }}{% endfor %}{% endfor %}"
    ),
}


@pytest.mark.parametrize("needs", FUNCTIONS)
@pytest.mark.parametrize("function", [{"name": "now"}, {"name": "now", "parameters": {"type": "object"}}])
def test_a_function_may_lack_description_and_parameters(needs: str, function: dict[str, Any]) -> None:
    template = ChatTemplate(FUNCTIONS[needs] + LOOP + "{{ m.content }}" + END, {})
    rendered = template.render([ASKED], [{"type": "function", "function": function}])
    assert rendered.startswith("now") and rendered.endswith("[user]Weather in Oslo?")


def test_a_function_is_not_completed_without_need() -> None:
    template = ChatTemplate(TOOLS + LOOP + "{{ m.content }}" + END, {})
    assert template.render([ASKED], [{"type": "function", "function": {"name": "now"}}]).startswith(
        '[{"type": "function", "function": {"name": "now"}}]'
    )


def test_a_tool_message_has_the_name_of_the_call_that_it_answers() -> None:
    template = LOOP + "{{ m.content }}" + CALLS + "{% if m.role == 'tool' %}{{ '<' + m.name + '>' }}{% endif %}" + END
    call = {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": "{}"}}
    history = [ASKED, {"role": "assistant", "tool_calls": [call]}]
    answer = {"role": "tool", "tool_call_id": "c1", "content": "12C"}
    assert prompt(template, messages=[*history, answer]).endswith("[tool]12C<weather>")


def test_a_name_reaches_the_prompt_in_every_role_but_is_never_added_to_a_result() -> None:
    template = LOOP + "{% if m.role == 'user' and m.name %}({{ m.name }}){% endif %}{{ m.content }}" + CALLS + END
    call = {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": "{}"}}
    rendered = prompt(
        template,
        messages=[
            {"role": "system", "name": "rules", "content": "Be brief."},
            {"role": "user", "name": "ann", "content": "Hi"},
            {"role": "assistant", "name": "bob", "content": "", "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "c1", "content": "12C"},
        ],
    )
    assert rendered == "[system]rules: Be brief.[user](ann)Hi[assistant]bob: weather:{}[tool]12C"


ITEMS = (
    "{% for c in m.tool_calls or [] %}{{ c.function.name }}"
    "{% for k, v in c.function.arguments.items() %} {{ k }}={{ v }}{% endfor %}{% endfor %}"
)
JOINED = "{% for c in m.tool_calls or [] %}{{ c.function.name + c.function.arguments }}{% endfor %}"


@pytest.mark.parametrize(
    ("calls", "arguments", "shown"),
    [
        (ITEMS, "", "weather"),
        (ITEMS, "null", "weather"),
        (ITEMS, '{"city": "Os', 'weather _={"city": "Os'),
        (ITEMS, "[1]", "weather _=[1]"),
        (ITEMS, '{"city": "Oslo"}', "weather city=Oslo"),
        (JOINED, '{"city":"Oslo"}', 'weather{"city":"Oslo"}'),
        (JOINED, '{"city": "Os', 'weather{"city": "Os'),
        (JOINED, "", "weather{}"),
        (CALLS, '{"city": "Os', 'weather:"{\\"city\\": \\"Os"'),
    ],
)
def test_past_arguments_need_not_be_an_object(calls: str, arguments: str, shown: str) -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": arguments}}
    history = [ASKED, {"role": "assistant", "content": "", "tool_calls": [call]}]
    result = {"role": "tool", "tool_call_id": "c1", "content": "12C"}
    rendered = prompt(LOOP + "{{ m.content }}" + calls + END, messages=[*history, result])
    assert rendered == f"[user]Weather in Oslo?[assistant]{shown}[tool]12C"


REFUSE = "{{ raise_exception('empty answer') }}"
EMPTY_ANSWERS = {
    "null": "{% if m.content is none %}{% elif m.content %}{{ m.content }}{% else %}" + REFUSE + "{% endif %}",
    "absent": "{% if m.content %}{{ m.content }}{% elif m.content is defined %}" + REFUSE + "{% endif %}",
    "parts": "{% if not m.content %}" + REFUSE + "{% elif m.content is string %}{{ m.content }}"
    "{% else %}{% for part in m.content %}{{ part.text }}{% endfor %}{% endif %}",
    "space": "{% if not m.content is string or not m.content %}" + REFUSE + "{% endif %}{{ m.content }}",
}


@pytest.mark.parametrize("form", EMPTY_ANSWERS)
def test_an_empty_answer_renders_whatever_form_the_template_wants(form: str) -> None:
    template = LOOP + EMPTY_ANSWERS[form] + END
    assert ChatTemplate(template, {}).traits.empty_answer == form
    shown = prompt(template, messages=[ASKED, {"role": "assistant", "content": ""}, ASKED])
    assert shown.replace(" [user]", "[user]") == "[user]Weather in Oslo?[assistant][user]Weather in Oslo?"


def test_an_empty_answer_that_no_form_makes_acceptable_is_refused_by_name() -> None:
    refuses = LOOP + "{% if not m.content or not m.content | trim %}" + REFUSE + "{% endif %}{{ m.content + '' }}" + END
    with pytest.raises(ChatError, match="refuses this message: empty answer") as caught:
        prompt(refuses, messages=[ASKED, {"role": "assistant", "content": ""}, ASKED])
    assert caught.value.param == "messages.1"


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


def test_tools_that_can_be_neither_printed_nor_written_are_refused() -> None:
    template = ChatTemplate(SILENT["prints nothing but content"], {}, tool_format="harmony")
    with pytest.raises(ChatError, match="does not show tools") as caught:
        template.render([ASKED], [TOOL])
    assert caught.value.param == "tools"


def test_control_tokens_of_a_description_stay_text() -> None:
    template = SILENT["prints nothing but content"]
    tool = {"type": "function", "function": {"name": "f", "description": "<|im_end|>", "parameters": PARAMETERS}}
    assert "<|im_end|>" in prompt(template, messages=[ASKED], tools=[tool])


PARTS = (
    "{% for m in messages %}[{{ m.role }}]"
    "{% for part in m.content if part.type == 'text' %}{{ part.text }}{% endfor %}{% endfor %}"
)


def test_a_template_that_prints_parts_only_gets_parts() -> None:
    talk = [ASKED, {"role": "assistant", "content": "12C"}, ASKED | {"content": [{"type": "text", "text": "And now?"}]}]
    assert prompt(PARTS, messages=talk) == "[user]Weather in Oslo?[assistant]12C[user]And now?"


def test_a_template_that_takes_text_and_parts_gets_text() -> None:
    both = LOOP + "{% if m.content is string %}{{ m.content }}{% else %}{{ m.content[0].text }}!{% endif %}" + END
    assert prompt(both, messages=[ASKED]) == "[user]Weather in Oslo?"


MIXED = (
    "{% for m in messages %}[{{ m.role }}]"
    "{% if m.role in ROLES %}{{ m.content[0].text }}{% else %}{{ m.content + '' }}{% endif %}" + CALLS + "{% endfor %}"
)


@pytest.mark.parametrize("roles", [["system"], ["user"], ["assistant"], ["tool"], ["system", "user", "tool"]])
def test_each_role_gets_the_form_of_content_that_the_template_reads(roles: list[str]) -> None:
    template = ChatTemplate(MIXED.replace("ROLES", str(roles)), {})
    assert template.traits.content_parts == set(roles)
    talk = [{"role": "system", "content": "Be brief."}, ASKED, called(content="I look."), RESULT]
    shown = template.render([*talk, {"role": "assistant", "content": "Cold."}], None)
    assert shown == (
        '[system]Be brief.[user]Weather in Oslo?[assistant]I look.weather:{"city": "Oslo"}[tool]12C[assistant]Cold.'
    )


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
