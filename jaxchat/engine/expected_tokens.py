"""The tokens with which a request expects the answer to begin."""

from __future__ import annotations


class ExpectedTokens:
    """The tokens with which an answer is expected to begin. Once the answer has another token, none are expected.

    Args:
        tokens: ids of the expected tokens.
    """

    def __init__(self, tokens: tuple[int, ...] = ()) -> None:
        self._tokens = tokens
        self._compared = 0  # tokens of the answer

    def after(self, answer: list[int], limit: int) -> tuple[int, ...]:
        """Returns the tokens that are expected next, at most `limit`. Returns none if the answer began with others.

        Args:
            answer: the tokens of the answer so far. It must begin with the answer of the last call.
            limit: maximum number of tokens.
        """
        if not self._tokens:
            return ()
        first, self._compared = self._compared, len(answer)
        if tuple(answer[first:]) != self._tokens[first : len(answer)]:
            self._tokens = ()
        return self._tokens[len(answer) : len(answer) + limit]
