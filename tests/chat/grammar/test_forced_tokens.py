"""The grammar of one given text allows each of its tokens in turn."""

from __future__ import annotations

import numpy as np
import pytest

from jaxchat.chat.grammar.forced_tokens import ForcedTokens, scoring_request


def allowed(constraint, size: int = 100) -> list[int]:
    row = np.full(-(-size // 32), 0xFFFFFFFF, np.uint32)
    constraint.fill(row)
    return [token for token in range(size) if row[token // 32] >> np.uint32(token % 32) & 1]


def test_only_the_next_token_is_allowed() -> None:
    tokens = [5, 99, 0, 31, 32]
    constraint = ForcedTokens(np.array(tokens, np.int32)).start()
    for place, token in enumerate(tokens):
        assert allowed(constraint) == [token] and constraint.forced() == tokens[place:]
        ahead = constraint.copy()
        with pytest.raises(ValueError, match="7"):
            constraint.accept(7)
        constraint.accept(token)
        assert ahead.forced() == tokens[place:], "a copy does not move"
        assert not constraint.is_end(token)


def test_a_scoring_request_samples_the_prompt_after_its_first_token() -> None:
    prompt = np.arange(40, dtype=np.int32)
    request = scoring_request(prompt)
    assert request.prompt.tolist() == [0] and request.max_tokens == 39 and not request.stop_tokens
    assert request.sampling.logprobs and request.grammar is not None
    constraint = request.grammar.start()
    assert constraint.forced() == list(range(1, 17))
    for token in range(1, 40):
        constraint.accept(token)
    assert constraint.forced() == []
