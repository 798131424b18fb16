"""Chat templates of the families, rendered as `transformers` renders them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jinja2
import pytest
from tokenizers import Tokenizer, models
from transformers import PreTrainedTokenizerFast

from jaxchat.chat.prompt.template import ChatTemplate
from jaxchat.chat.prompt.template_files import load_template
from jaxchat.chat.tools.harmony import HARMONY
from jaxchat.chat.tools.hermes import HERMES
from jaxchat.chat.tools.llama3 import LLAMA3
from jaxchat.chat.tools.mistral import MISTRAL
from jaxchat.errors import ChatError
from tests.chat.templates import NAMES, SPECIAL, source

SYSTEM = {"role": "system", "content": " Be <b>brief</b> & kind. "}
TALK = [
    {"role": "user", "content": "  What is 'π'?\n"},
    {"role": "assistant", "content": " About 3.14 "},
    {"role": "user", "content": 'And "e"? <|im_end|>'},
]
ASKED = {"role": "user", "content": "Weather in Zürich?"}


def called(*cities: str) -> list[dict[str, Any]]:
    calls = [
        {"id": f"abcdefgh{i}", "type": "function", "function": {"name": "weather", "arguments": {"city": city}}}
        for i, city in enumerate(cities)
    ]
    results = [
        {"role": "tool", "tool_call_id": call["id"], "content": f'{{"sun": {i}}}'} for i, call in enumerate(calls)
    ]
    return [ASKED, {"role": "assistant", "content": None, "tool_calls": calls}, *results]


TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "weather",
            "description": "Says <b>what</b> it's like",
            "parameters": {"type": "object", "properties": {"city": {"type": "string", "enum": ["Zürich", "Oslo"]}}},
        },
    }
]
TALKS: dict[str, tuple[list[dict[str, Any]], list[dict[str, Any]] | None]] = {
    "one": ([ASKED], None),
    "talk": (TALK, None),
    "system": ([SYSTEM, *TALK], None),
    "tools": ([SYSTEM, ASKED], TOOLS),
    "one call": (called("Oslo"), TOOLS),
    "two calls": (called("Oslo", "Zürich"), TOOLS),
    "answered call": ([*called("Zürich"), {"role": "assistant", "content": "Sunny."}, ASKED], TOOLS),
    "wrong order": ([ASKED, ASKED], None),
}


def theirs(name: str, messages: list[dict[str, Any]], tools: list[dict[str, Any]] | None) -> str:
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.BPE()), chat_template=source(name), **SPECIAL)
    found = tokenizer.apply_chat_template(messages, tools=tools, tokenize=False, add_generation_prompt=True)
    assert isinstance(found, str)
    return found


def one_at_a_time(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Returns the conversation of two calls with a message for each call."""
    asked, answer, *results = messages
    pairs = zip(answer["tool_calls"], results, strict=True)
    return [asked, *(each for call, result in pairs for each in (answer | {"tool_calls": [call]}, result))]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("talk", TALKS)
def test_templates_render_as_transformers_renders_them(name: str, talk: str) -> None:
    messages, tools = TALKS[talk]
    ours = ChatTemplate(source(name), SPECIAL)
    plain = one_at_a_time(messages) if talk == "two calls" and ours.traits.parallel_calls == "apart" else messages
    try:
        expected = theirs(name, plain, tools)
    except (jinja2.TemplateError, TypeError) as error:
        if tools and not (ours.traits.calls and ours.traits.results):
            assert '"name": "weather"' in ours.render(messages, tools)
            return
        with pytest.raises(ChatError, match="The model's chat template refuses this") as caught:
            ours.render(messages, tools)
        assert str(error) in str(caught.value)
    else:
        prints_tools = not tools or ours.traits.tools == "variable"
        assert (ours.render(messages, tools) == expected) == prints_tools


def test_the_syntax_of_calls_is_recognised() -> None:
    found = {name: ChatTemplate(source(name), SPECIAL).tool_format for name in NAMES}
    others = dict.fromkeys(("qwen", "gemma", "phi", "smollm"), HERMES)
    assert found == {"llama3": LLAMA3, "mistral": MISTRAL, "harmony": HARMONY, **others}
    assert ChatTemplate(source("llama3"), SPECIAL, tool_format="hermes").tool_format == HERMES


def test_templates_that_show_one_call_in_a_message_get_one() -> None:
    apart = {name for name in NAMES if ChatTemplate(source(name), SPECIAL).traits.parallel_calls == "apart"}
    assert apart == {"llama3", "harmony"}


def test_a_template_of_its_own_for_tools(tmp_path: Path) -> None:
    named = [{"name": "default", "template": "plain"}, {"name": "tool_use", "template": "tools {{ tools | tojson }}"}]
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"chat_template": named}))
    template = load_template(tmp_path)
    plain, with_tools = (template.render([ASKED], tools) for tools in (None, TOOLS))
    assert plain == "plain" and with_tools.startswith("tools [")
