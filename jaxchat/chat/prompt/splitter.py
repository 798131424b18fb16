"""Finds added tokens in a text as the tokenizers library does."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from tokenizers import AddedToken, Tokenizer, models, normalizers

_ANY = "\0any text\0"  # the only token of the model


class Span(NamedTuple):
    """The place of an added token in a text, with the white space that the token absorbs. `token` is the token's id."""

    start: int
    end: int
    token: int


class Splitter:
    """A searcher for added tokens. It finds the same tokens as the library, but does not tokenise other text."""

    def __init__(
        self, normalizer: normalizers.Normalizer | None, added: dict[int, AddedToken], wanted: frozenset[int]
    ) -> None:
        """Compiles the added tokens.

        Args:
            normalizer: the tokenizer's normaliser; None if it changes nothing.
            added: added tokens by id: the wanted tokens, and all tokens whose spellings may overlap with theirs.
            wanted: ids of the tokens to find.
        """
        self._tokenizer = Tokenizer(models.WordLevel({_ANY: 0}, _ANY))
        if normalizer is not None:
            self._tokenizer.normalizer = normalizer
        self._tokenizer.add_tokens(list(added.values()))
        self._ids = {self._tokenizer.token_to_id(added[id_].content): id_ for id_ in wanted}
        self._literal = all(map(_is_literal, added.values()))
        self._contents = {self._tokenizer.token_to_id(token.content): token.content for token in added.values()}

    def holding(self, texts: Iterable[str]) -> set[str]:
        """Returns the texts that contain a wanted token."""
        texts = list(texts)
        found = self._tokenizer.encode_batch_fast(texts, add_special_tokens=False)
        return {
            text for text, encoding in zip(texts, found, strict=True) if not self._ids.keys().isdisjoint(encoding.ids)
        }

    def spans(self, text: str) -> list[Span]:
        """Returns the places of the wanted tokens in `text`, in order."""
        # Encoding a batch releases the GIL, encoding one text does not.
        if self._literal:
            ids = self._tokenizer.encode_batch_fast([text], add_special_tokens=False)[0].ids
            return list(self._found(ids, text))
        found = self._tokenizer.encode_batch([text], add_special_tokens=False)[0]
        pairs = zip(found.ids, found.offsets, strict=True)
        return [Span(start, end, self._ids[id_]) for id_, (start, end) in pairs if id_ in self._ids]

    def _found(self, ids: Iterable[int], text: str) -> Iterator[Span]:
        """Yields the wanted tokens of `text`, which the library has encoded as `ids`.

        Searches for the spelling of each token from the end of the previous token on. Asking the library for offsets
        would take several times as long.
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
    """Returns whether the library finds a token exactly at the places where the text contains its spelling."""
    return not (token.normalized or token.lstrip or token.rstrip or token.single_word)
