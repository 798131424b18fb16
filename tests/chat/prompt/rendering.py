"""Parts of small templates and of conversations, and the prompt that a request gets."""

from __future__ import annotations

from typing import Any

from jaxchat.chat.prompt.build import prompt_tokens
from jaxchat.chat.prompt.template import ChatTemplate
from jaxchat.chat.prompt.tokenizer import ChatTokenizer
from jaxchat.chat.request.validate import validate
from jaxchat.openai_json.request import request_from_json
from tests import tiny

ASKED = {"role": "user", "content": "Weather in Oslo?"}
RESULT = {"role": "tool", "tool_call_id": "c1", "name": "weather", "content": "12C"}
PARAMETERS = {"type": "object", "properties": {"city": {"type": "string"}}}
TOOL = {"type": "function", "function": {"name": "weather", "description": "Tells it", "parameters": PARAMETERS}}
LOOP = "{% for m in messages %}[{{ m.role }}]"
TOOLS = "{{ tools | tojson if tools else '' }}"
CALLS = "{% for c in m.tool_calls or [] %}{{ c.function.name }}:{{ c.function.arguments | tojson }}{% endfor %}"
END = "{% endfor %}"


def called(arguments: Any = None, content: str | None = None) -> dict[str, Any]:
    function = {"name": "weather", "arguments": {"city": "Oslo"} if arguments is None else arguments}
    return {
        "role": "assistant",
        "content": content,
        "tool_calls": [{"id": "c1", "type": "function"} | {"function": function}],
    }


def prompt(template: str, **request: Any) -> str:
    tokenizer = ChatTokenizer(tiny.tokenizer_json())
    parsed = request_from_json({"model": "m", **request}).request
    choice = validate(parsed, vocab_size=tokenizer.size, model_ids=("m",), streamed=False)
    ids = prompt_tokens(parsed, choice, ChatTemplate(template, {}), tokenizer, 4096, tokenizer.size)
    return b"".join(tokenizer.bytes_of(id_) for id_ in ids.tolist()).decode()
