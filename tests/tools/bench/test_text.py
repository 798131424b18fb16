"""Prompts of an exact number of tokens, as text and as tokens."""

from __future__ import annotations

from random import Random

import pytest

from tools.bench.text import prompt_text, prompt_tokens, tokenizer


@pytest.mark.parametrize("vocab", [700, 2048, 151_936])
def test_the_text_of_a_prompt_has_its_tokens(vocab: int) -> None:
    made = tokenizer(vocab)
    assert made.get_vocab_size() == vocab
    for count in (2, 3, 32, 101):
        tokens = prompt_tokens(Random(count), count, vocab)
        assert len(tokens) == count
        assert made.encode("<|im_start|>" + prompt_text(tokens)).ids == tokens


def test_a_vocabulary_out_of_range_is_refused() -> None:
    with pytest.raises(ValueError, match="vocab must be from 660 to 160659, got 600"):
        tokenizer(600)
