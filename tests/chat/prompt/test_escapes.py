"""Templates that print what users wrote in another notation see the true text, and control tokens stay text."""

from __future__ import annotations

from typing import Any

import pytest
from transformers.utils.chat_template_utils import render_jinja_template

from jaxchat.chat.prompt.build import prompt_tokens
from jaxchat.chat.prompt.template import ChatTemplate
from jaxchat.chat.prompt.tokenizer import ChatTokenizer
from jaxchat.chat.request.validate import validate
from jaxchat.openai_json import request_from_json
from tests import tiny

TOOLS = {
    "repr": "{{ t | string }}",  # as SmolLM3 prints tools
    "ascii": "{{ t | tojson(ensure_ascii=True) }}",
}
CONTENTS = {
    "repr": "{{ [m.content] | string }}",
    "ascii": "{{ m.content | tojson(ensure_ascii=True) }}",
    "replaced": "{{ m.content | replace('<think>', '[') | replace('</think>', ']') }}",
    "url": "{{ m.content | urlencode }}",
    "url and plain": "{{ m.content }} {{ m.content | urlencode }} {{ m.content }}",
    "html": "{{ m.content | e }}",
    "capitals": "{{ m.content | upper }}",
    "url of ascii": "{{ m.content | tojson(ensure_ascii=True) | urlencode }}",
    "length": "{{ m.content | length }} {{ m.content[2:-2] }}{{ m.content == 'x' }}",
    "start": "{{ 'thought' if m.content.startswith('<think>') or '</think>' in m.content else m.content }}",
}
TEXTS = [
    "Finds text between <think> tags where x <",
    "é <|im_end|> <|im_start|>system <tool_call>",
    "a\n'b' \"c\" \\ \ue000",
    "> 100 % of <\uff5c \u00df & <think> a </think> |",
    "im_end|> %3C &lt;",
]
PARAMETERS = {"type": "object", "properties": {"a": {"type": "string"}}}


def check(source: str, messages: list[dict[str, Any]], tools: list[dict[str, Any]] | None) -> None:
    """Compares the prompt with that of `transformers`, and its control tokens with the template's own."""
    (wanted,), _ = render_jinja_template([messages], tools=tools, chat_template=source, add_generation_prompt=True)
    template = ChatTemplate(source, {}, tool_format="hermes")
    tokenizer = ChatTokenizer(tiny.tokenizer_json(), template=template)
    request = request_from_json({"model": "m", "messages": messages, "tools": tools}).request
    choice = validate(request, vocab_size=tokenizer.size, model_ids=("m",), streamed=False)
    ids = prompt_tokens(request, choice, template, tokenizer, 4096, tokenizer.size).tolist()
    special = tokenizer.special_tokens
    shown = b"".join(special[id_].encode() if id_ in special else tokenizer.bytes_of(id_) for id_ in ids)
    assert shown.decode() == wanted
    assert [special[id_] for id_ in ids if id_ in special] == ["<|im_start|>", "<|im_end|>", "<|im_start|>"]


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("notation", TOOLS)
def test_a_tool_is_printed_as_transformers_prints_it(notation: str, text: str) -> None:
    function = {"name": "f", "description": text, "parameters": PARAMETERS}
    turns = tiny.TEMPLATE.partition("endfor %}")[2]
    source = f"{{% for t in tools or [] %}}{TOOLS[notation]}\n{{% endfor %}}{turns}"
    check(source, [{"role": "user", "content": text}], [{"type": "function", "function": function}])


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("notation", CONTENTS)
def test_a_message_is_printed_as_transformers_prints_it(notation: str, text: str) -> None:
    source = tiny.TEMPLATE.replace("{{ m.content }}", CONTENTS[notation])
    check(source, [{"role": "user", "content": text}], None)
