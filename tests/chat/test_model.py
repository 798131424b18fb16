"""The model's object in the API tells what its chat template shows, what the server puts in and what is refused."""

from __future__ import annotations

import pytest

from jaxchat.chat.context import ModelInfo
from jaxchat.chat.model import facts_about, model_of
from jaxchat.chat.prompt.template import ChatTemplate
from jaxchat.openai_json import answer_to_json
from tests import tiny
from tests.chat.response.thinking import tokenizer

INFO = ModelInfo(id="m", created=3, vocab=1, logits=1, context=1, queue=1, fingerprint="fp")
LOOP = "{% for m in messages %}[{{ m.role }}]{{ m.content }}"
CALLS = "{% for c in m.tool_calls or [] %}<tool_call>\n{{ c.function | tojson }}</tool_call>{% endfor %}"
HERMES = '{# <tool_call>{"name": #}'
NO_SYSTEM = "{% if messages[0].role == 'system' %}{{ raise_exception('no system') }}{% endif %}"
DROPS_SYSTEM = "{% for m in messages if m.role != 'system' %}[{{ m.role }}]{{ m.content }}{% endfor %}"
TOOLS = "{{ tools | tojson if tools else '' }}"
UNKNOWN = "<|call|>{{ tools | tojson if tools else '' }}"

TEMPLATES = {
    HERMES + TOOLS + LOOP + CALLS + "{% endfor %}": ("hermes", "template", "template", "template", "template"),
    LOOP + "{% endfor %}": ("hermes", "server", "server", "template", "template"),
    DROPS_SYSTEM: ("hermes", "server", "server", "template", "server"),
    NO_SYSTEM + LOOP + "{% endfor %}": ("hermes", "server", "server", "template", "server"),
    UNKNOWN + LOOP + "{% endfor %}": ("unknown", "rejected", "rejected", "template", "template"),
}


@pytest.mark.parametrize("source", TEMPLATES)
def test_the_model_tells_what_writes_each_part_of_a_conversation(source: str) -> None:
    words = dict(zip(("tool_format", "tools", "calls", "results", "system"), TEMPLATES[source], strict=True))
    assert answer_to_json(model_of(INFO, ChatTemplate(source, {}))) == {
        "id": "m",
        "object": "model",
        "created": 3,
        "owned_by": "jaxchat",
        "chat_template": words,
    }


def test_a_format_that_the_operator_names_is_told() -> None:
    template = ChatTemplate(tiny.TEMPLATE, {}, tool_format="qwen3-coder")
    assert model_of(INFO, template).chat_template.tool_format == "qwen3-coder"


def test_the_start_tells_that_an_unknown_format_refuses_calls() -> None:
    assert (
        "--tool-format"
        in dict(facts_about(INFO, ChatTemplate(UNKNOWN + LOOP + "{% endfor %}", {}), tokenizer()))["tool calls"]
    )


def test_the_start_tells_where_thoughts_go() -> None:
    def told(source: str, **settings: str) -> str | None:
        template = ChatTemplate(f"{LOOP}{{% endfor %}}{source}", {}, **settings)
        return dict(facts_about(INFO, template, tokenizer())).get("thoughts")

    assert told("{# </think> #}") == "reasoning_content, marked by <think> </think>"
    assert told("{# </seed:think> #}") == "left in the content: the tokenizer has no added token <seed:think>"
    assert told("{# </think> #}", reasoning_format="none") is None and told("") is None
