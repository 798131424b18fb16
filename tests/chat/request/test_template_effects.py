"""Values of template variables that have no effect are refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from jaxchat import v1
from jaxchat.chat.prompt.template import ChatTemplate
from jaxchat.chat.request.template_kwargs import template_kwargs
from jaxchat.errors import ChatError

LEVELS = ("none", "minimal", "low", "medium", "high", "xhigh", "max")
HARMONY = (Path(__file__).parents[1] / "templates" / "harmony.jinja").read_text()
TEXT = "{% for m in messages %}{{ m.content }}{% endfor %}"
TWO = TEXT + "{% if reasoning_effort == 'high' %}high{% else %}max{% endif %}"
DEFAULT = TEXT + "{{ reasoning_effort | default('medium') }}"
SOMETIMES = TEXT + "{% if messages | length > 1 %}{{ reasoning_effort }}{% endif %}"


def accepts(source: str, effort: str | None = None, **kwargs: Any) -> bool:
    request = v1.ChatCompletionRequest(chat_template_kwargs=json.dumps(kwargs))
    if effort:
        request.reasoning_effort = v1.ReasoningEffort.Value(f"REASONING_EFFORT_{effort.upper()}")
    try:
        template_kwargs(request, ChatTemplate(source, {}), tools=False)
    except ChatError as error:
        named = "reasoning_effort" if effort else f"chat_template_kwargs.{next(iter(kwargs))}"
        assert error.param == named and error.http_status == 400
        return False
    return True


@pytest.mark.parametrize(
    ("source", "levels"),
    [
        (TWO, ("high",)),
        (DEFAULT, LEVELS),
        (SOMETIMES, LEVELS),
        (HARMONY, ("low", "medium", "high")),
    ],
)
def test_levels_without_effect_are_refused(source: str, levels: tuple[str, ...]) -> None:
    assert tuple(level for level in LEVELS if accepts(source, level)) == levels
    assert tuple(level for level in LEVELS if accepts(source, reasoning_effort=level)) == levels


def test_levels_are_probed_with_the_other_variables_of_the_request() -> None:
    source = TEXT + "{% if thinking and reasoning_effort == 'max' %}max{% endif %}"
    assert (
        accepts(source, "low") and accepts(source, "max", thinking=True) and not accepts(source, "low", thinking=True)
    )


def test_the_message_lists_the_levels() -> None:
    request = v1.ChatCompletionRequest(reasoning_effort=v1.REASONING_EFFORT_MAX)
    with pytest.raises(ChatError, match=r"no level of effort .max.*an effect: low, medium, high"):
        template_kwargs(request, ChatTemplate(HARMONY, {}), tools=False)


QWEN3 = TEXT + "{% if enable_thinking is defined and enable_thinking is false %}<think></think>{% endif %}"
SWITCH = TEXT + "{% if enable_thinking %}<think>{% endif %}"
WORD = TEXT + "{% if enable_thinking == 'false' or enable_thinking is false %}no{% endif %}"
PRINTED = TEXT + "{{ enable_thinking | default('false') }}"


@pytest.mark.parametrize("source", [QWEN3, SWITCH])
@pytest.mark.parametrize(
    ("value", "taken"), [(True, True), (False, True), (None, True), ("false", False), ("no", False)]
)
def test_a_boolean_is_not_given_as_text(source: str, value: Any, taken: bool) -> None:
    assert accepts(source, enable_thinking=value) == taken


@pytest.mark.parametrize(("source", "value"), [(WORD, "false"), (PRINTED, "false"), (PRINTED, "x"), (SWITCH, 0)])
def test_text_and_numbers_that_the_template_tells_apart_are_taken(source: str, value: Any) -> None:
    assert accepts(source, enable_thinking=value)
