"""Thoughts of earlier answers, which a request sends back, in templates that read them as `transformers` gives them."""

from __future__ import annotations

from typing import Any

import pytest
from tokenizers import Tokenizer, models
from transformers import PreTrainedTokenizerFast

from jaxchat.chat.prompt.messages import template_messages
from jaxchat.chat.prompt.template import ChatTemplate
from jaxchat.openai_json import request_from_json

TEMPLATES = [  # thoughts of the last turn only, by a test of the type; and of every answer, where they are given
    "{%- set ns = namespace(last=-1) %}{%- for m in messages %}{%- if m.role == 'user' %}"
    "{%- set ns.last = loop.index0 %}{%- endif %}{%- endfor %}"
    "{%- for m in messages %}[{{ m.role }}]{%- if m.reasoning_content is string and "
    "loop.index0 > ns.last %}<think>{{ m.reasoning_content.strip() }}</think>{%- endif %}{{ m.content }}{%- endfor %}",
    "{% for m in messages %}[{{ m.role }}]{% if m.reasoning_content is defined and m.reasoning_content %}"
    "<think>{{ m.reasoning_content }}</think>{% endif %}{{ m.content or '' }}{% endfor %}",
]


def conversation(first: str | None, last: str | None) -> list[dict[str, Any]]:
    answers = [
        {"role": "assistant", "content": "Four.", "reasoning_content": first},
        {"role": "assistant", "content": "Four again.", "reasoning_content": last},
    ]
    user = {"role": "user", "content": "2 + 2?"}
    return [user, answers[0], user, answers[1]]


@pytest.mark.parametrize("template", TEMPLATES, ids=["last turn", "all"])
@pytest.mark.parametrize(("first", "last"), [("Two and\ntwo. ", " Hm. "), (None, "Hm."), ("", None), (None, None)])
def test_thoughts_are_rendered_as_transformers_renders_them(template: str, first: str | None, last: str | None) -> None:
    messages = conversation(first, last)
    request = request_from_json({"model": "m", "messages": messages}).request
    ours = ChatTemplate(template, {}).render(template_messages(request.messages, id_length=0), None)
    reference = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.BPE()), chat_template=template)
    given = [{key: value for key, value in message.items() if value is not None} for message in messages]
    assert ours == reference.apply_chat_template(given, tokenize=False, add_generation_prompt=True)
    assert ("<think>" in str(ours)) == bool(last or (first and "defined" in template))
