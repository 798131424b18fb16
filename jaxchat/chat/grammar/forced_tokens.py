"""The grammar of one given text. It makes the engine compute the log-probabilities of tokens that are known before.

A prompt's log-probabilities need no program for themselves: its first token is the prompt, and the grammar allows only
the others. A sampler that may take one token only reports that token's log-probability among all tokens. As the
tokens are known, they are drafts too, so one decode step computes up to 16 of them.
"""

from __future__ import annotations

import numpy as np

from jaxchat.types import GenerateRequest, SamplingParams

_AHEAD = 16  # tokens of a step: one row and its drafts


class ForcedTokens:
    """A grammar that allows one sequence of tokens. Implements `jaxchat.types.Grammar`."""

    def __init__(self, tokens: np.ndarray) -> None:
        """Keeps the tokens, i32 `[tokens]`."""
        self._tokens: list[int] = tokens.tolist()

    def start(self) -> ForcedToken:
        return ForcedToken(self._tokens, 0)


class ForcedToken:
    """A place in a sequence of tokens. Implements `jaxchat.types.Constraint`."""

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
    """Returns a request whose tokens are those of a prompt after its first one, with their log-probabilities.

    The log-probabilities are those of the model's logits. Nothing of the request affects other requests.

    Args:
        prompt: i32 `[tokens]`, at least two.
    """
    return GenerateRequest(
        prompt=prompt[:1],
        max_tokens=len(prompt) - 1,
        sampling=SamplingParams(temperature=0.0, logprobs=True),
        grammar=ForcedTokens(prompt[1:]),
    )
