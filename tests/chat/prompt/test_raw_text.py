"""A text without a chat template is tokenised as `transformers` does it, with the tokens around a text."""

from __future__ import annotations

import pytest
from tokenizers import Tokenizer, processors
from transformers import PreTrainedTokenizerFast

from jaxchat.chat.prompt.tokenizer import ChatTokenizer
from tests import tiny
from tests.chat.prompt import tokenizers as small

TEXTS = [
    "",
    "Hello",
    " Hello  there",
    "caf\u00e9 \U0001f600",
    "a <s> b</s>c",
    "x<|im_end|>y",
    "<|im_start|>user\nhi",
    "\n\n a",
]


def with_bos(source: str, token: str) -> str:
    """Returns a tokenizer that adds a token in front of a text."""
    tokenizer = Tokenizer.from_str(source)
    pair = (token, tokenizer.token_to_id(token))
    tokenizer.post_processor = processors.TemplateProcessing(single=f"{token} $A", special_tokens=[pair])
    return tokenizer.to_str()


SOURCES = {
    "bytes": tiny.tokenizer_json(),
    "bytes with a beginning": with_bos(tiny.tokenizer_json(), "<|endoftext|>"),
    "legacy with a beginning": with_bos(small.legacy(), "<s>"),
    "metaspace": small.metaspace("first"),
}


@pytest.mark.parametrize("name", SOURCES)
@pytest.mark.parametrize("special", [True, False])
def test_ids_and_texts_are_those_of_transformers(name: str, special: bool) -> None:
    oracle = PreTrainedTokenizerFast(tokenizer_object=Tokenizer.from_str(SOURCES[name]))
    tokenizer = ChatTokenizer(SOURCES[name])
    for text in TEXTS:
        ids = tokenizer.encode_raw(text, add_special_tokens=special)
        assert ids == oracle.encode(text, add_special_tokens=special)
        assert tokenizer.decode(ids) == oracle.decode(ids, clean_up_tokenization_spaces=False)
    assert tokenizer.decode([]) == ""


def test_a_beginning_is_added_only_where_the_tokenizer_adds_it() -> None:
    counts = {
        name: len(ChatTokenizer(source).encode_raw("", add_special_tokens=True)) for name, source in SOURCES.items()
    }
    assert counts == {"bytes": 0, "bytes with a beginning": 1, "legacy with a beginning": 1, "metaspace": 0}
