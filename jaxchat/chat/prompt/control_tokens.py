"""Prevents message text from becoming control tokens, without changing how other text is tokenised.

If a message contains the spelling of an added token, a private-use character (the joiner) is inserted into it before
the chat template runs. The template sees ordinary strings. The tokenizer later recognises only unbroken spellings,
which the template alone can produce, and removes the joiner from all other text.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any

_PRIVATE_USE = range(0xE000, 0xF8FF)


class ControlTokens:
    """The spellings of control tokens, and the means to break them in message text."""

    def __init__(self, tokens: Iterable[str], normalize: Callable[[str], str] | None = None) -> None:
        """Compiles the spellings.

        Args:
            tokens: added tokens. Whitespace and single characters do not count as control tokens.
            normalize: the tokenizer's normaliser, if it has one.
        """
        self.tokens = [token for token in tokens if len(token.strip()) > 1]
        longest_first = sorted(self.tokens, key=len, reverse=True)
        self._spellings = re.compile("|".join(map(re.escape, longest_first)) or r"(?!)")
        self._heads = {token[:end] for token in self.tokens for end in range(1, len(token))}
        self._tails = {token[start:] for token in self.tokens for start in range(1, len(token))}
        self._longest = max(map(len, self.tokens), default=0)
        self._normalize = normalize

    def joiner(self, value: Any) -> str:
        """Returns a private-use character that occurs in none of the strings of `value`."""
        used = {char for text in _strings(value) for char in text if "\ue000" <= char <= "\uf8ff"}
        return next(chr(code) for code in _PRIVATE_USE if chr(code) not in used)

    def apply(self, value: Any, joiner: str) -> Any:
        """Returns `value` with the spellings broken in every string, at any depth."""
        if isinstance(value, str):
            return self._break(value, joiner)
        if isinstance(value, dict):
            return {self.apply(key, joiner): self.apply(item, joiner) for key, item in value.items()}
        if isinstance(value, list):
            return [self.apply(item, joiner) for item in value]
        return value

    def _break(self, text: str, joiner: str) -> str:
        broken = self._spellings.sub(lambda match: match[0][0] + joiner + match[0][1:], text)
        if broken == text and self._normalize and self._spellings.search(self._normalize(text)):
            return joiner.join(text)  # look-alikes that normalisation turns into a spelling
        # The template's own text could complete a partial spelling at either end.
        sizes = range(1, min(self._longest, len(text) + 1))
        if any(text[:size] in self._tails for size in sizes):
            broken = joiner + broken
        if any(text[-size:] in self._heads for size in sizes):
            broken = broken + joiner
        return broken


def _strings(value: Any) -> Iterable[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _strings(key)
            yield from _strings(item)
    elif isinstance(value, list):
        for item in value:
            yield from _strings(item)
