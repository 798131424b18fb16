"""The error for a conversation that a template refuses names the message or the tool."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from jaxchat.chat.prompt.refusals import refused_variable
from jaxchat.chat.prompt.template import ChatTemplate
from jaxchat.errors import ChatError
from tests.chat.prompt.rendering import ASKED, END, LOOP, TOOL, TOOLS, prompt

RAISES = {
    "RecursionError": "{% macro f(x) %}{{ f(x) }}{% endmacro %}{{ f(1) }}",
    "ZeroDivisionError": "{{ 1 // 0 }}",
    "OverflowError": "{% for i in range(10 ** 9) %}{% endfor %}",
    "KeyError": "{{ '{x}'.format() }}",
    "TemplateError": "{{ raise_exception('not so') }}",
    "TypeError": "{{ '' + 1 }}",
}


@pytest.mark.parametrize("kind", RAISES)
def test_any_exception_names_the_refused_message(kind: str) -> None:
    template = LOOP + "{% if 'bad' in m.content %}" + RAISES[kind] + "{% endif %}{{ m.content }}" + END
    texts = ["one", "two", "three bad", "four", "five"]
    with pytest.raises(ChatError, match="The model's chat template refuses this message: ") as caught:
        ChatTemplate(template, {}).render([{"role": "user", "content": text} for text in texts], None)
    assert caught.value.param == "messages.2"


NEEDS_QUESTION = (
    "{% if not messages | selectattr('role', 'equalto', 'user') | list %}"
    "{{ raise_exception('no question') }}{% endif %}"
)
LATE = "{% for m in messages %}{% if m.role == 'system' and not loop.first %}{{ raise_exception('late') }}{% endif %}"


@pytest.mark.parametrize("between", [0, 1, 2])
def test_the_named_message_is_refused_for_the_reason_that_is_told(between: int) -> None:
    system = {"role": "system", "content": "Be brief."}
    talk = [system, *[ASKED] * between, system, ASKED, ASKED]
    with pytest.raises(ChatError, match="refuses this message: late") as caught:
        ChatTemplate(NEEDS_QUESTION + LATE + "{{ m.content }}" + END, {}).render(talk, None)
    assert caught.value.param == f"messages.{between + 1}"


def test_a_message_is_named_where_the_template_needs_tools() -> None:
    needs = "{% if not tools %}{{ raise_exception('no tools') }}{% endif %}" + TOOLS
    with pytest.raises(ChatError, match="refuses this message: late") as caught:
        ChatTemplate(needs + LATE + "{{ m.content }}" + END, {}).render(
            [ASKED, ASKED, {"role": "system", "content": "Be brief."}, ASKED], [TOOL]
        )
    assert caught.value.param == "messages.2"


@pytest.mark.parametrize("kind", RAISES)
@pytest.mark.parametrize("field", ["tools", "functions"])
def test_any_exception_names_the_refused_tool(kind: str, field: str) -> None:
    inner = (
        "{% for t in tools or [] %}{{ t.function.name }}{% if t.function.name == 'bad' %}"
        + RAISES[kind]
        + "{% endif %}"
    )
    functions = [{"name": name} for name in ("good", "bad", "other")]
    declared = functions if field == "functions" else [{"type": "function", "function": each} for each in functions]
    with pytest.raises(ChatError, match="The model's chat template refuses this tool: ") as caught:
        prompt(inner + END + LOOP + "{{ m.content }}" + END, messages=[ASKED], **{field: declared})
    assert caught.value.param == f"{field}.1"


@pytest.mark.parametrize(
    ("kwargs", "named"),
    [
        ({"bad": 1, "needed": 1}, "chat_template_kwargs.bad"),
        ({"needed": 1, "bad": 1, "other": 2}, "chat_template_kwargs.bad"),
        ({"needed": 1}, None),
        ({"worse": 1, "bad": 1, "needed": 1}, None),
        ({}, None),
    ],
)
def test_a_refused_variable_is_named_beside_one_that_the_template_needs(
    kwargs: dict[str, int], named: str | None
) -> None:
    def render(given: Mapping[str, Any]) -> None:
        if "needed" not in given or {"bad", "worse"} & given.keys():
            raise ValueError("no")

    refusal = refused_variable(ValueError("no"), render, kwargs)
    assert (refusal and refusal.param) == named
