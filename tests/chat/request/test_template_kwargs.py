"""Template variables of a request: what is read, and what is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest

from jaxchat import v1
from jaxchat.chat.prompt.template import ChatTemplate
from jaxchat.chat.request.template_kwargs import MAX_BYTES, MAX_DEPTH, template_kwargs
from jaxchat.errors import ChatError

TEMPLATE = ChatTemplate("{{ a }}{{ b }}{{ reasoning_effort }}", {"box_token": "#"}, with_tools="{{ c }}{{ tools }}")
SILENT = ChatTemplate("{{ messages }}", {})


def read(text: str | None = None, *, tools: bool = False, template: ChatTemplate = TEMPLATE, **more: Any) -> Any:
    return template_kwargs(v1.ChatCompletionRequest(chat_template_kwargs=text, **more), template, tools=tools)


def nested(depth: int) -> str:
    return '{"a":' * depth + "1" + "}" * depth


def test_values_are_json_data() -> None:
    values = {"a": [1, -0.5, None, True, {"x": "ü", "role": "user"}], "b": 2**80}
    assert read(json.dumps(values)) == values
    assert read() == read("{}") == {}
    assert read(nested(MAX_DEPTH)) and len(read(json.dumps({"a": "x" * (MAX_BYTES - 20)}))["a"]) > 60_000


@pytest.mark.parametrize("word", ["none", "minimal", "low", "medium", "high", "xhigh", "max"])
def test_a_level_of_effort_is_a_variable(word: str) -> None:
    effort = v1.ReasoningEffort.Value(f"REASONING_EFFORT_{word.upper()}")
    assert read('{"a": 1}', reasoning_effort=effort) == {"a": 1, "reasoning_effort": word}


@pytest.mark.parametrize(
    ("text", "param", "says"),
    [
        ("", "chat_template_kwargs", "as JSON text"),
        ("[]", "chat_template_kwargs", "expected an object, got []"),
        ("null", "chat_template_kwargs", "got None"),
        ('{"a": NaN}', "chat_template_kwargs", "NaN"),
        ('{"a": 1e999}', "chat_template_kwargs", "finite"),
        ('{"a": "\\ud800"}', "chat_template_kwargs", "surrogates"),
        ('{"a": {"x": 1, "x": 2}}', "chat_template_kwargs.a.x", "twice"),
        ('{"a": 1, "a": 1}', "chat_template_kwargs.a", "twice"),
        (nested(MAX_DEPTH + 1), "chat_template_kwargs", "64"),
        ("[" * 100_000, "chat_template_kwargs", "65536"),
        (json.dumps({"a": "x" * MAX_BYTES}), "chat_template_kwargs", "65536 bytes are allowed, got 655"),
        ('{"z": 1}', "chat_template_kwargs.z", "reads: a, b, reasoning_effort."),
        ('{"c": 1}', "chat_template_kwargs.c", "reads: a, b, reasoning_effort."),
        ('{"": 1}', "chat_template_kwargs.", "does not read ''"),
        ('{"messages": []}', "chat_template_kwargs.messages", "server itself sets 'messages'"),
        ('{"eos_token": ""}', "chat_template_kwargs.eos_token", "itself"),
        ('{"box_token": ""}', "chat_template_kwargs.box_token", "itself"),
        ('{"raise_exception": 1}', "chat_template_kwargs.raise_exception", "itself"),
    ],
)
def test_refusals_name_the_variable_and_the_bound(text: str, param: str, says: str) -> None:
    with pytest.raises(ChatError) as caught:
        read(text)
    assert caught.value.param == param and says in caught.value.message and len(caught.value.message) < 300


def test_the_template_for_tools_reads_its_own_variables() -> None:
    assert read('{"c": 1}', tools=True) == {"c": 1}
    with pytest.raises(ChatError, match=r"Variables that it reads: c\."):
        read('{"a": 1}', tools=True)


@pytest.mark.parametrize(
    ("text", "effort", "template", "code", "says"),
    [
        (None, v1.REASONING_EFFORT_HIGH, SILENT, "unsupported_parameter", "does not read levels of effort, got 'high'"),
        (None, v1.REASONING_EFFORT_UNSPECIFIED, TEMPLATE, None, "got none"),
        ('{"reasoning_effort": "low"}', v1.REASONING_EFFORT_HIGH, TEMPLATE, None, "only one"),
    ],
)
def test_efforts_that_are_refused(text: str | None, effort: Any, template: ChatTemplate, code: Any, says: str) -> None:
    with pytest.raises(ChatError, match=says) as caught:
        read(text, template=template, reasoning_effort=effort)
    assert (caught.value.param, caught.value.code) == ("reasoning_effort", code)
