"""Finds added tokens in a text as the tokenizers library does."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from tokenizers import AddedToken, Tokenizer, models, normalizers

_ANY = "\0any text\0"  # the only token of the model


class Span(NamedTuple):
    """An added token in a text, with the white space that it absorbs."""

    start: int
    end: int
    token: int


class Splitter:
    """Finds added tokens as the library does, in one pass, but leaves the text between them whole."""

    def __init__(
        self, normalizer: normalizers.Normalizer | None, added: dict[int, AddedToken], wanted: frozenset[int]
    ) -> None:
        """Compiles the added tokens, by their ids in the library. `spans` returns those with an id in `wanted`."""
        self._tokenizer = Tokenizer(models.WordLevel({_ANY: 0}, _ANY))
        if normalizer is not None:
            self._tokenizer.normalizer = normalizer
        self._tokenizer.add_tokens(list(added.values()))
        self._ids = {self._tokenizer.token_to_id(added[id_].content): id_ for id_ in wanted}
        self._literal = all(map(_is_literal, added.values()))
        self._contents = {self._tokenizer.token_to_id(token.content): token.content for token in added.values()}

    def holding(self, texts: Iterable[str]) -> set[str]:
        """Returns the texts that hold any of the tokens."""
        texts = list(texts)
        found = self._tokenizer.encode_batch_fast(texts, add_special_tokens=False)
        return {
            text for text, encoding in zip(texts, found, strict=True) if not self._ids.keys().isdisjoint(encoding.ids)
        }

    def spans(self, text: str) -> list[Span]:
        """Returns the tokens in order."""
        # Encoding a batch releases the GIL, encoding one text does not.
        if self._literal:
            ids = self._tokenizer.encode_batch_fast([text], add_special_tokens=False)[0].ids
            return list(self._found(ids, text))
        found = self._tokenizer.encode_batch([text], add_special_tokens=False)[0]
        pairs = zip(found.ids, found.offsets, strict=True)
        return [Span(start, end, self._ids[id_]) for id_, (start, end) in pairs if id_ in self._ids]

    def _found(self, ids: Iterable[int], text: str) -> Iterator[Span]:
        """Yields the tokens of a text that is encoded already. The library takes several times as long for offsets.

        Each token is the first occurrence of its spelling after the token before it.
        """
        end = 0
        for id_ in ids:
            spelling = self._contents.get(id_)
            if spelling is not None:
                start = text.index(spelling, end)
                end = start + len(spelling)
                if id_ in self._ids:
                    yield Span(start, end, self._ids[id_])


def _is_literal(token: AddedToken) -> bool:
    """Returns whether the library finds a token wherever its spelling stands, and nothing else."""
    return not (token.normalized or token.lstrip or token.rstrip or token.single_word)
