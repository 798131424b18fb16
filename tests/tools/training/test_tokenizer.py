"""The exported tokenizer and chat template."""

from __future__ import annotations

import json

import jinja2.sandbox
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer

import jaxchat.bundled
from tools.training.sample import assistant, calls, result, user
from tools.training.template import SOURCE, render
from tools.training.tokenizer import MARKERS, SPECIAL, train

TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer.from_file(str(jaxchat.bundled.path() / "tokenizer.json"))


@given(text=st.text(st.characters(exclude_categories=["Cs"])))
def test_any_text_survives(tokenizer: Tokenizer, text: str) -> None:
    if not any(token in text for token in (*SPECIAL, *MARKERS)):
        assert tokenizer.decode(tokenizer.encode(text, add_special_tokens=False).ids) == text


def test_every_digit_is_a_token(tokenizer: Tokenizer) -> None:
    assert tokenizer.encode("1234+56", add_special_tokens=False).tokens == ["1", "2", "3", "4", "+", "5", "6"]


def test_added_tokens_are_single(tokenizer: Tokenizer) -> None:
    for token in (*SPECIAL, *MARKERS):
        assert tokenizer.encode(token, add_special_tokens=False).tokens == [token]
    assert tokenizer.decode([tokenizer.token_to_id(t) for t in MARKERS]) == "".join(MARKERS)
    assert tokenizer.decode([tokenizer.token_to_id(t) for t in SPECIAL]) == ""


def test_a_fresh_tokenizer_holds_all_bytes() -> None:
    fresh = train(["Hello world, hello 12."] * 3, vocabulary=300)
    assert fresh.decode(fresh.encode("é\x00漢🙂", add_special_tokens=False).ids) == "é\x00漢🙂"


def test_template_of_a_tool_round() -> None:
    asked = [
        {"role": "system", "content": "Be brief."},
        user("Go"),
        calls(("f", {"a": 1}), ("f", {"a": "é"})),
    ]
    messages = [*asked, result("1"), result("2", 1), assistant("Done.")]
    assert render(messages, [TOOL]) == (
        "<|im_start|>system\nBe brief.\n\n# Tools\n\n<tools>\n"
        '{"name": "f", "parameters": {"type": "object", "properties": {}}}\n</tools><|im_end|>\n'
        "<|im_start|>user\nGo<|im_end|>\n"
        '<|im_start|>assistant\n<tool_call>\n{"name": "f", "arguments": {"a": 1}}\n</tool_call>\n'
        '<tool_call>\n{"name": "f", "arguments": {"a": "é"}}\n</tool_call><|im_end|>\n'
        "<|im_start|>user\n<tool_response>\n1\n</tool_response>\n<tool_response>\n2\n</tool_response><|im_end|>\n"
        "<|im_start|>assistant\nDone.<|im_end|>\n"
    )


def test_template_without_system_and_with_names_and_objects() -> None:
    call = {
        "role": "assistant",
        "content": "So:",
        "tool_calls": [{"function": {"name": "f", "arguments": {"a": 1}}}],
    }
    assert render([{"role": "user", "name": "Bob", "content": "Hi"}, call], generate=True) == (
        '<|im_start|>user name=Bob\nHi<|im_end|>\n<|im_start|>assistant\nSo:\n<tool_call>\n{"name": "f", '
        '"arguments": {"a": 1}}\n</tool_call><|im_end|>\n<|im_start|>assistant\n'
    )


def test_the_exported_template_is_the_trained_one() -> None:
    exported = json.loads((jaxchat.bundled.path() / "tokenizer_config.json").read_text("utf-8"))
    assert exported["chat_template"] == SOURCE
    jinja2.sandbox.ImmutableSandboxedEnvironment().from_string(SOURCE)
