"""Every family through the real servers: a checkpoint with its own template answers, calls, and reads the result."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import pytest
from tokenizers import Tokenizer

from jaxchat import load
from jaxchat.chat.tools.format import TOOL_FORMATS
from jaxchat.models.families import FAMILIES
from tests import tiny
from tests.chat.templates import SPECIAL, source
from tests.contract.place import Place
from tests.exhaustive import mostly_exhaustive
from tools.parity import checkpoints

CITY = {"type": "string", "enum": ["Oslo", "Rome"]}
WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "Says how it is",
        "parameters": {"type": "object", "properties": {"city": CITY}, "required": ["city"]},
    },
}
NAMED = {"type": "function", "function": {"name": "weather"}}
ASKED = {"role": "user", "content": "Weather in Rome?"}
SMALL = dict(vocab_size=320, max_position_embeddings=2048, num_hidden_layers=1, head_dim=16)
EXPERTS = dict(num_local_experts=4, num_experts_per_tok=2, sliding_window=None)
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "Llama": ("llama3", {}),
    "Mistral": ("mistral", {}),
    "Mixtral": ("mistral", EXPERTS),
    "Qwen2": ("qwen", {}),
    "Qwen3": ("qwen", {}),
    "Qwen2Moe": (
        "qwen",
        dict(num_experts=4, num_experts_per_tok=2, moe_intermediate_size=24, shared_expert_intermediate_size=24),
    ),
    "Qwen3Moe": ("qwen", dict(num_experts=4, num_experts_per_tok=2, moe_intermediate_size=24)),
    "Gemma": ("gemma", {}),
    "Gemma2": ("gemma", dict(query_pre_attn_scalar=16)),
    "Gemma3Text": ("gemma", dict(query_pre_attn_scalar=16)),
    "Gemma4Text": ("gemma", dict(global_head_dim=32, hidden_size_per_layer_input=8, vocab_size_per_layer_input=320)),
    "Phi3": ("phi", {}),
    "Olmo2": ("qwen", {}),
    "Granite": ("qwen", {}),
    "SmolLM3": ("smollm", {}),
    "Ministral3": ("mistral", {}),
    "Cohere2": ("qwen", dict(sliding_window=64)),
    "GptOss": ("harmony", dict(num_local_experts=4, num_experts_per_tok=2)),
}
MARKERS = {marker for _, tool_format in TOOL_FORMATS.items() for marker in tool_format.markers}


@pytest.fixture(scope="module", autouse=True)
def quickly_compiled() -> Iterator[None]:
    """Programs that run for a second need not be fast."""
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)


def write(directory: Path, kind: str) -> Path:
    """Writes a random model of a family, with byte tokens and the markers of calls as control tokens."""
    template, changes = CASES[kind]
    checkpoints.write_model(directory, kind, **{**SMALL, **changes})
    tokenizer = Tokenizer.from_str(tiny.tokenizer_json())
    tokenizer.add_special_tokens([*sorted(MARKERS), *SPECIAL.values()])
    (directory / "tokenizer.json").write_text(tokenizer.to_str())
    config = {**SPECIAL, "chat_template": source(template)}
    (directory / "tokenizer_config.json").write_text(json.dumps(config))
    (directory / "generation_config.json").write_text(json.dumps({"eos_token_id": tokenizer.token_to_id("</s>")}))
    return directory


def test_every_family_is_here() -> None:
    alike = {
        *("Gemma3ForConditionalGeneration", "Gemma4ForConditionalGeneration"),
        *("Mistral3ForConditionalGeneration", "MinistralForCausalLM"),
        *("Qwen2VLForConditionalGeneration", "Qwen2_5_VLForConditionalGeneration"),
        *("Qwen3VLForConditionalGeneration", "Qwen3VLMoeForConditionalGeneration"),
        *("Olmo3ForCausalLM", "Exaone4ForCausalLM", "GraniteMoeForCausalLM", "SeedOssForCausalLM"),
        *("CohereForCausalLM", "GlmForCausalLM", "Glm4ForCausalLM", "Ernie4_5ForCausalLM", "HunYuanDenseV1ForCausalLM"),
    }  # their decoders compute what those of others do; parity tests compare their logits
    assert {f"{kind.removesuffix('Text')}ForCausalLM" for kind in CASES} | alike == set(FAMILIES)


@pytest.mark.usefixtures("greedy_sampler")
@pytest.mark.parametrize("kind", mostly_exhaustive(CASES, ["Llama", "Mistral", "Qwen3Moe", "Gemma4Text", "GptOss"]))
def test_a_family_answers_calls_and_reads_the_result(tmp_path: Path, kind: str) -> None:
    sizes = dict(slots=2, prefill_chunk=128, prefill_buckets=(128,), max_seq_len=1536)
    with load(str(write(tmp_path, kind)), **sizes) as client, Place(client) as place:
        doors = [place.door(name) for name in ("openai", "openai stream", "client", "client stream")]
        said = [door.ask(messages=[ASKED], seed=1, max_tokens=12) for door in doors]
        assert said[0].usage and said[0].usage[1] > 0
        assert len({(answer.text or "", answer.usage, answer.identity[-1]) for answer in said}) == 1

        params = dict(tools=[WEATHER], seed=1, max_tokens=250)
        forced = [door.ask(messages=[ASKED], tool_choice=NAMED, **params).choices[0] for door in doors]
        calls = [(call.name, call.arguments) for choice in forced for call in choice.calls]
        assert calls == [calls[0]] * len(doors) and {choice.finish for choice in forced} == {"tool_calls"}
        assert calls[0][0] == "weather" and json.loads(calls[0][1])["city"] in CITY["enum"]

        function = dict(name="weather", arguments=calls[0][1])
        call = {"id": forced[0].calls[0].id, "type": "function", "function": function}
        result = {"role": "tool", "tool_call_id": call["id"], "content": '{"sun": true}'}
        params["messages"] = [ASKED, {"role": "assistant", "content": "", "tool_calls": [call]}, result]
        assert doors[0].ask(**params).usage
