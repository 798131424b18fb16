"""A grammar that forces the engine to generate a known text, in order to get the log-probabilities of its tokens.

The first token of the text is the prompt of a request. At each later step, the grammar allows only the next token of
the text. The sampler takes this token and reports its log-probability among all tokens. Because the tokens are known in
advance, they also serve as drafts, so that one decode step computes up to 16 tokens.
"""

from __future__ import annotations

import numpy as np

from jaxchat.types import GenerateRequest, SamplingParams

_AHEAD = 16  # tokens of a step: one row and its drafts


class ForcedTokens:
    """A grammar that allows a single sequence of tokens. Implements `jaxchat.types.Grammar`."""

    def __init__(self, tokens: np.ndarray) -> None:
        """Keeps the tokens, i32 `[tokens]`."""
        self._tokens: list[int] = tokens.tolist()

    def start(self) -> ForcedToken:
        return ForcedToken(self._tokens, 0)


class ForcedToken:
    """A constraint that allows only the next token of a known sequence. Implements `jaxchat.types.Constraint`."""

    def __init__(self, tokens: list[int], place: int) -> None:
        self._tokens, self._place = tokens, place

    def fill(self, row: np.ndarray) -> None:
        token = self._tokens[self._place]
        row[:] = 0
        row[token // 32] = np.uint32(1) << np.uint32(token % 32)

    def accept(self, token: int) -> None:
        if token != self._tokens[self._place]:
            raise ValueError(f"token {token} is not token {self._place} of the text")
        self._place += 1

    def forced(self) -> list[int]:
        return self._tokens[self._place : self._place + _AHEAD]

    def copy(self) -> ForcedToken:
        return ForcedToken(self._tokens, self._place)

    def is_end(self, token: int) -> bool:
        return False


def scoring_request(prompt: np.ndarray) -> GenerateRequest:
    """Returns a request that generates all tokens of a prompt except the first, with their log-probabilities.

    The log-probabilities are those of the model's logits.

    Args:
        prompt: i32 `[tokens]`, at least two.
    """
    return GenerateRequest(
        prompt=prompt[:1],
        max_tokens=len(prompt) - 1,
        sampling=SamplingParams(temperature=0.0, logprobs=True),
        grammar=ForcedTokens(prompt[1:]),
    )
