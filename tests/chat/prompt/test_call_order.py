"""Templates that show no ids tell calls and their results apart by order alone."""

from __future__ import annotations

from typing import Any

import pytest

from jaxchat.chat.prompt.template import ChatTemplate
from jaxchat.errors import ChatError
from tests.chat.prompt.rendering import ASKED, CALLS, END, LOOP, prompt

NO_IDS = LOOP + "{{ m.content or '' }}" + CALLS + END


def calls(*cities: str, content: str | None = None) -> dict[str, Any]:
    """Returns an assistant message with a call for each city. The id of a call is the city in lower case."""
    made = [
        {
            "id": city.lower(),
            "type": "function",
            "function": {"name": f"in_{city.lower()}", "arguments": f'{{"c": "{city}"}}'},
        }
        for city in cities
    ]
    return {"role": "assistant", "content": content, "tool_calls": made}


def result(city: str) -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": city.lower(), "content": f"result of {city}"}


@pytest.mark.parametrize("order", [("Oslo", "Roma", "Bonn"), ("Bonn", "Roma", "Oslo"), ("Roma", "Bonn", "Oslo")])
def test_results_come_in_the_order_of_the_calls(order: tuple[str, ...]) -> None:
    talk = [ASKED, calls("Oslo", "Roma", "Bonn"), *map(result, order), ASKED]
    assert "[tool]result of Oslo[tool]result of Roma[tool]result of Bonn[user]" in prompt(NO_IDS, messages=talk)


def test_each_group_of_results_is_ordered_alone() -> None:
    first, second = [calls("Oslo", "Roma"), result("Roma"), result("Oslo")], [calls("Bonn"), result("Bonn")]
    third = [calls("Wien", "Bern"), result("Bern"), result("Wien")]
    shown = prompt(NO_IDS, messages=[ASKED, *first, *second, *third])
    places = [shown.index(f"result of {city}") for city in ("Oslo", "Roma", "Bonn", "Wien", "Bern")]
    assert places == sorted(places)


def test_incomplete_results_keep_their_order() -> None:
    talk = [ASKED, calls("Oslo", "Roma", "Bonn"), result("Bonn"), result("Oslo"), ASKED, result("Roma")]
    assert "[tool]result of Bonn[tool]result of Oslo[user]" in ChatTemplate(NO_IDS, {}).render(talk, None)


CONTENT = "{{ m.content or '' }}"
BESIDE = {
    "drops the text": LOOP + "{% if not m.tool_calls %}" + CONTENT + "{% endif %}" + CALLS + END,
    "drops the calls": LOOP + CONTENT + "{% if not m.content %}" + CALLS + "{% endif %}" + END,
}


@pytest.mark.parametrize("kind", BESIDE)
def test_text_beside_calls_comes_before_them(kind: str) -> None:
    template = ChatTemplate(BESIDE[kind], {})
    assert template.traits.text_beside_calls == "apart"
    shown = prompt(BESIDE[kind], messages=[ASKED, calls("Oslo", content="Let me look."), result("Oslo"), ASKED])
    assert '[assistant]Let me look.[assistant]in_oslo:{"c": "Oslo"}[tool]result of Oslo[user]' in shown
    assert "does not show text beside calls: it becomes a message before them" in list(template.traits.notes())


def test_white_space_beside_calls_is_no_message() -> None:
    shown = prompt(BESIDE["drops the text"], messages=[ASKED, calls("Oslo", content="\n\n"), result("Oslo")])
    assert shown.count("[assistant]") == 1


ALTERNATES = (
    "{% set ns = namespace(turns=0) %}{% for m in messages %}"
    "{% if m.role == 'user' or m.role == 'assistant' and not m.tool_calls %}"
    "{% if (m.role == 'user') != (ns.turns % 2 == 0) %}{{ raise_exception('alternate') }}{% endif %}"
    "{% set ns.turns = ns.turns + 1 %}{% endif %}"
    "[{{ m.role }}]{% if m.tool_calls %}" + CALLS + "{% else %}{{ m.content }}{% endif %}" + END
)


def test_calls_beside_text_are_written_where_a_further_message_is_refused() -> None:
    talk = [
        ASKED,
        calls("Oslo", content="Let me look."),
        result("Oslo"),
        {"role": "assistant", "content": "12."},
        ASKED,
    ]
    template = ChatTemplate(ALTERNATES, {}, tool_format="hermes")
    shown = template.render(talk, None)
    assert (
        '[assistant]Let me look.\n<tool_call>\n{"name": "in_oslo", "arguments": {"c": "Oslo"}}\n</tool_call>'
        '[user]<tool_response>\n{"name": "", "content": "result of Oslo"}\n</tool_response>[assistant]12.' in shown
    )
    native = [ASKED, calls("Oslo"), result("Oslo"), *talk[3:]]
    assert "[tool]result of Oslo[assistant]12.[user]" in template.render(native, None)


def test_text_beside_calls_that_cannot_be_shown_is_refused_by_name() -> None:
    template = ChatTemplate(ALTERNATES, {}, tool_format="harmony")
    assert template.render([ASKED, calls("Oslo"), result("Oslo")], None)
    with pytest.raises(ChatError, match="does not show text beside calls") as caught:
        template.render([ASKED, calls("Oslo", content="Let me look."), result("Oslo")], None)
    assert caught.value.param == "messages.1.content"


FIRST_ONLY = (
    "{% for m in messages %}[{{ m.role }}]{{ m.content or '' }}"
    "{% if m.tool_calls %}{% set f = m.tool_calls[0].function %}{{ f.name }}:{{ f.arguments | tojson }}{% endif %}"
    + END
)
ONE = LOOP + "{% if m.tool_calls and m.tool_calls | length > 1 %}{{ raise_exception('one call') }}{% endif %}"


@pytest.mark.parametrize("template", [FIRST_ONLY, ONE + CONTENT + CALLS + END])
@pytest.mark.parametrize("order", [("Oslo", "Roma"), ("Roma", "Oslo")])
def test_parallel_calls_are_split_where_the_template_shows_one(template: str, order: tuple[str, str]) -> None:
    talk = [ASKED, calls("Oslo", "Roma", content="I look."), *map(result, order), ASKED]
    assert prompt(template, messages=talk) == (
        '[user]Weather in Oslo?[assistant]I look.in_oslo:{"c": "Oslo"}[tool]result of Oslo'
        '[assistant]in_roma:{"c": "Roma"}[tool]result of Roma[user]Weather in Oslo?'
    )


def test_parallel_calls_without_results_are_split_too() -> None:
    talk = [ASKED, calls("Oslo", "Roma"), result("Roma")]
    shown = ChatTemplate(FIRST_ONLY, {}).render(talk, None)
    assert shown.count("[assistant]") == 2 and shown.endswith("[tool]result of Roma")
    assert shown.index("in_oslo") < shown.index("in_roma")


def test_parallel_calls_that_cannot_be_shown_are_refused_by_name() -> None:
    calling = "messages | selectattr('tool_calls', 'defined') | list"
    once = f"{{% if {calling} | length > 1 %}}{{{{ raise_exception('once') }}}}{{% endif %}}"
    template = ChatTemplate(once + FIRST_ONLY, {}, tool_format="harmony")
    assert template.render([ASKED, calls("Oslo"), result("Oslo")], None)
    with pytest.raises(ChatError, match="does not show more than one call in a message, got 2") as caught:
        template.render([ASKED, calls("Oslo", "Roma"), result("Oslo"), result("Roma")], None)
    assert caught.value.param == "messages.1.tool_calls"
