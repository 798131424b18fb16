"""System messages reach the model, or are refused, whatever the template does with them."""

from __future__ import annotations

import pytest

from jaxchat.chat.prompt.template import ChatTemplate
from jaxchat.errors import ChatError
from tests.chat.prompt.rendering import ASKED, END, LOOP, prompt

SYSTEMS = {
    "refuses": LOOP + "{% if m.role == 'system' %}{{ raise_exception('no') }}{% endif %}{{ m.content }}" + END,
    "drops": "{% for m in messages if m.role != 'system' %}[{{ m.role }}]{{ m.content }}" + END,
}


@pytest.mark.parametrize("kind", SYSTEMS)
def test_a_description_reaches_templates_without_system_messages(kind: str) -> None:
    schema = {"name": "city", "description": "A city of Norway", "schema": {"type": "object"}}
    rendered = prompt(SYSTEMS[kind], messages=[ASKED], response_format={"type": "json_schema", "json_schema": schema})
    assert rendered == "[user]Answer with JSON, city: A city of Norway\n\nWeather in Oslo?"


@pytest.mark.parametrize("kind", SYSTEMS)
def test_a_system_message_moves_into_the_first_user_message(kind: str) -> None:
    system, answer = {"role": "system", "content": "Be brief."}, {"role": "assistant", "content": "Cold."}
    shown = prompt(SYSTEMS[kind], messages=[system | {"role": "developer"}, ASKED, answer, ASKED])
    assert shown == "[user]Be brief.\n\nWeather in Oslo?[assistant]Cold.[user]Weather in Oslo?"
    assert prompt(SYSTEMS[kind], messages=[system]) == "[user]Be brief."
    assert prompt(SYSTEMS[kind], messages=[system | {"content": ""}, ASKED]) == "[user]Weather in Oslo?"


def test_a_later_system_message_is_refused_where_the_template_refuses_all() -> None:
    system = {"role": "system", "content": "Be brief."}
    with pytest.raises(ChatError, match="refuses this message: no") as caught:
        prompt(SYSTEMS["refuses"], messages=[system, ASKED, system])
    assert caught.value.param == "messages.2"


def test_a_template_that_takes_system_messages_may_refuse_one() -> None:
    refuses = LOOP + "{% if m.content == 'bad' %}{{ raise_exception('bad word') }}{% endif %}{{ m.content }}" + END
    with pytest.raises(ChatError, match="bad word") as caught:
        prompt(refuses, messages=[{"role": "system", "content": "bad"}, ASKED])
    assert caught.value.param == "messages.0"


def test_a_first_system_message_that_depends_on_the_last_role_is_not_lost() -> None:
    template = (
        "{% for m in messages if m.role != 'system' %}[{{ m.role }}]"
        "{% if loop.last and m.role == 'user' and messages[0].role == 'system' %}{{ messages[0].content }} {% endif %}"
        "{{ m.content }}" + END
    )
    system, answer = {"role": "system", "content": "Be brief."}, {"role": "assistant", "content": "Sunny."}
    ours = ChatTemplate(template, {})
    assert ours.render([system, ASKED], None) == "[user]Be brief. Weather in Oslo?"
    assert ours.render([system, ASKED, answer], None) == "[user]Be brief.\n\nWeather in Oslo?[assistant]Sunny."


def test_a_late_system_message_that_is_dropped_is_refused_by_position() -> None:
    first = "{% if messages[0].role == 'system' %}{{ messages[0].content }}{% endif %}"
    template = ChatTemplate(first + "{% for m in messages if m.role != 'system' %}{{ m.content }}" + END, {})
    system = {"role": "system", "content": "Rule."}
    assert template.render([system, ASKED], None) == "Rule.Weather in Oslo?"
    for messages in ([system, system | {"content": "Other."}, ASKED], [ASKED, system]):
        with pytest.raises(ChatError, match="leaves out a system message") as caught:
            template.render(messages, None)
        assert caught.value.param == "messages.1.role"


def test_a_late_system_message_that_is_changed_is_not_dropped() -> None:
    template = ChatTemplate(LOOP + "{{ m.content | upper if 'probed' not in m.content else m.content }}" + END, {})
    assert template.render([ASKED, {"role": "system", "content": "rule"}], None).endswith("[system]RULE")


def test_a_second_system_message_is_not_lost_where_the_first_moves_into_the_users() -> None:
    rest = "messages[1:] if messages[0].role == 'system' else messages"
    skips = f"{{% for m in ({rest}) %}}[{{{{ m.role }}}}]{{{{ m.content }}}}{END}"
    system = [{"role": "system", "content": text} for text in ("Be brief.", "Be polite.")]
    assert prompt(skips, messages=[system[0], ASKED]) == "[user]Be brief.\n\nWeather in Oslo?"
    with pytest.raises(ChatError, match="leaves out a system message") as caught:
        prompt(skips, messages=[*system, ASKED])
    assert caught.value.param == "messages.1.role"
