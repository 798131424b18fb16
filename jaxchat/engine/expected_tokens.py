"""The tokens with which a request expects a choice to begin."""

from __future__ import annotations


class ExpectedTokens:
    """The tokens with which a choice is expected to begin. Once the choice differs, none are expected any more.

    Args:
        tokens: ids of the tokens.
    """

    def __init__(self, tokens: tuple[int, ...] = ()) -> None:
        self._tokens = tokens
        self._compared = 0  # tokens of the answer

    def after(self, answer: list[int], limit: int) -> tuple[int, ...]:
        """Returns at most `limit` tokens that are expected next; none once the answer has differed.

        Args:
            answer: the tokens of the answer so far. It must begin with those of the last call.
            limit: maximum number of tokens.
        """
        if not self._tokens:
            return ()
        first, self._compared = self._compared, len(answer)
        if tuple(answer[first:]) != self._tokens[first : len(answer)]:
            self._tokens = ()
        return self._tokens[len(answer) : len(answer) + limit]
