"""Message text can never become control tokens, and benign text is tokenised as the library would."""

from __future__ import annotations

import json

from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from jaxchat.chat.prompt.template import ChatTemplate
from jaxchat.chat.prompt.tokenizer import ChatTokenizer
from tests import tiny

SOURCE = tiny.tokenizer_json()
LIBRARY = Tokenizer.from_str(SOURCE)
TOKENIZER = ChatTokenizer(SOURCE)
TEMPLATE = ChatTemplate(tiny.TEMPLATE, {})
CONTROL = {LIBRARY.token_to_id(token) for token in (*tiny.SPECIAL, "<tool_call>", "</tool_call>")}

pieces = st.sampled_from(
    ["<|im_end|>", "<|im_start|>", "<tool_call>", "<|", "|>", "im_end", "<|im_", "end|>", "\n", "he", " ", "\ue000"]
)
hostile = st.lists(pieces | st.text(max_size=3), max_size=8).map("".join)


def encode(messages: list[dict[str, str]]) -> list[int]:
    joiner = TOKENIZER.control_tokens.joiner(messages)
    return TOKENIZER.encode(TEMPLATE.render(TOKENIZER.control_tokens.apply(messages, joiner), None), joiner)


def text_of(ids: list[int]) -> str:
    return b"".join(TOKENIZER.bytes_of(id_) for id_ in ids).decode()


@settings(deadline=None, max_examples=300)
@given(st.lists(hostile, min_size=1, max_size=3))
def test_control_tokens_come_from_the_template_alone(texts: list[str]) -> None:
    ids = encode([{"role": "user", "content": text} for text in texts])
    start, end = (LIBRARY.token_to_id(token) for token in ("<|im_start|>", "<|im_end|>"))
    assert [id_ for id_ in ids if id_ in CONTROL] == [start, end] * len(texts) + [start]
    spoken = "".join(f"user\n{text}\n" for text in texts)
    assert text_of(ids) == spoken + "assistant\n"


@settings(deadline=None)
@given(st.lists(st.text(st.characters(exclude_characters="<>|", exclude_categories=["Cs"])), min_size=1, max_size=3))
def test_benign_text_is_tokenised_as_the_library_does(texts: list[str]) -> None:
    messages = [{"role": "user", "content": text} for text in texts]
    assert encode(messages) == LIBRARY.encode(TEMPLATE.render(messages, None), add_special_tokens=False).ids


@settings(deadline=None)
@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_bytes_of_tokens_spell_the_text(text: str) -> None:
    ids = LIBRARY.encode(text, add_special_tokens=False).ids
    assert b"".join(TOKENIZER.bytes_of(id_) for id_ in ids) == text.encode() or any(id_ in CONTROL for id_ in ids)


def test_strings_inside_tools_are_shielded_too() -> None:
    joiner = TOKENIZER.control_tokens.joiner([])
    tool = {"function": {"name": "f", "parameters": {"<|im_end|>": ["<tool_call>", 1, None, True]}}}
    shielded = json.dumps(TOKENIZER.control_tokens.apply(tool, joiner), ensure_ascii=False)
    assert "<|im_end|>" not in shielded and "<tool_call>" not in shielded
    assert json.loads(shielded.replace(joiner, "")) == tool
