"""Families end to end: a checkpoint with its own template and syntax of calls answers, calls, and reads the result."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer

from jaxchat import load
from jaxchat.chat.syntaxes import MARKERS
from tests import tiny
from tests.chat.templates import SPECIAL, source
from tools.parity import checkpoints

CITY = {"type": "string", "enum": ["Oslo", "Rome"]}
WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "parameters": {"type": "object", "properties": {"city": CITY}, "required": ["city"]},
    },
}
ASKED = {"role": "user", "content": "Weather in Rome?"}
EXPERTS = dict(num_local_experts=4, num_experts_per_tok=2, sliding_window=None)


def write(directory: Path, kind: str, template: str, **changes: Any) -> Path:
    """A random model of a family, with byte tokens and the markers of calls as control tokens."""
    checkpoints.write_model(directory, kind, vocab_size=272, max_position_embeddings=2048, **changes)
    tokenizer = Tokenizer.from_str(tiny.tokenizer_json())
    tokenizer.add_special_tokens([*sorted(MARKERS), *SPECIAL.values()])
    (directory / "tokenizer.json").write_text(tokenizer.to_str())
    config = {**SPECIAL, "chat_template": source(template)}
    (directory / "tokenizer_config.json").write_text(json.dumps(config))
    (directory / "generation_config.json").write_text(json.dumps({"eos_token_id": tokenizer.token_to_id("</s>")}))
    return directory


@pytest.mark.parametrize(
    ("kind", "template", "changes"),
    [("Llama", "llama3", {}), ("Mixtral", "mistral", EXPERTS), ("Qwen3", "qwen", dict(head_dim=16))],
)
def test_a_family_calls_and_reads_the_result(tmp_path: Path, kind: str, template: str, changes: dict) -> None:
    with load(str(write(tmp_path, kind, template, **changes)), slots=2, cache_dir="off") as chat:

        def ask(*messages: dict[str, Any], **options: Any) -> Any:
            asked = dict(messages=list(messages), tools=[WEATHER], parallel_tool_calls=False, seed=1, **options)
            return chat.chat.completions.create(**asked)

        answer = ask(ASKED, tool_choice="required").choices[0]
        (call,) = answer.message.tool_calls
        assert call.function.name == "weather" and json.loads(call.function.arguments)["city"] in CITY["enum"]
        function = dict(name="weather", arguments=call.function.arguments)
        said = {"role": "assistant", "tool_calls": [{"id": call.id, "type": "function", "function": function}]}
        result = {"role": "tool", "tool_call_id": call.id, "content": '{"sun": true}'}
        assert ask(ASKED, said, result, max_tokens=4).usage.completion_tokens > 0
