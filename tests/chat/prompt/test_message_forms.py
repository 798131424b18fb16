"""Templates that accept one form of a message only: of its content, its name or the arguments of its calls."""

from __future__ import annotations

import pytest

from jaxchat.chat.prompt.template import ChatTemplate
from jaxchat.errors import ChatError
from tests.chat.prompt.rendering import ASKED, CALLS, END, LOOP, RESULT, TOOLS, called, prompt

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
